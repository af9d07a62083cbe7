//! What a call carries, whatever its protocol: names and values.

use std::collections::BTreeMap;

/// Names and values.
pub type Fields = BTreeMap<String, String>;

/// The fields of a form, or of a query.
pub fn parse(text: &str) -> Fields {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let parse = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    pairs.map(parse).collect()
}

/// The top level of a JSON object.
pub fn parse_json(body: &[u8]) -> Option<Fields> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Some(object.into_iter().map(|(k, v)| (k, text(v))).collect())
}

/// The members of a list: `NAME.member.1` and so on, with what follows the number.
pub fn members<'a>(fields: &'a Fields, name: &str) -> BTreeMap<(usize, &'a str), &'a str> {
    let prefix = format!("{name}.member.");
    let member = |(name, value): (&'a String, &'a String)| {
        let rest = name.strip_prefix(&prefix)?;
        let (number, rest) = rest.split_once('.').unwrap_or((rest, ""));
        Some(((number.parse().ok()?, rest), value.as_str()))
    };
    fields.iter().filter_map(member).collect()
}

fn decode(text: &str) -> String {
    let (mut bytes, mut decoded) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte.unwrap_or(0)).to_digit(16);
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let (high, low) = (high.expect("a hex digit"), low.expect("a hex digit"));
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(decoded).expect("UTF-8")
}
