//! `config/lameduck.toml` shows every key with its default, and nothing else.

use toml::de::{DeTable, DeValue};

use super::{file, told};
use crate::config::{Default, known_keys};

pub(super) const REFERENCE: &str = include_str!("../../../config/lameduck.toml");

/// The file with its commented keys and tables in force.
fn uncommented() -> String {
    let is_key = |line: &str| {
        let word = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let lines = REFERENCE.lines().map(|line| match line.strip_prefix("# ") {
        Some(text)
            if is_key(text)
                || ["[listener", "[[listener.", "[platform", "[upstream"]
                    .iter()
                    .any(|table| text.starts_with(table)) =>
        {
            text
        }
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text of a key's value, the first of a list of tables standing for all.
fn value_of(text: &str, path: &str) -> Option<String> {
    let (table, errors) = DeTable::parse_recoverable(text);
    assert_eq!(errors, []);
    let mut table = table.get_ref();
    let (last, tables) =
        path.split('.')
            .collect::<Vec<_>>()
            .split_last()
            .map(|(last, tables)| {
                (
                    last.to_string(),
                    tables.iter().map(ToString::to_string).collect::<Vec<_>>(),
                )
            })?;
    for name in tables {
        let name = if name == "NAME" {
            "agent"
        } else {
            name.as_str()
        };
        let value = table.get(name)?.get_ref();
        table = value.as_table().or_else(|| match value {
            DeValue::Array(items) => items.iter().next()?.get_ref().as_table(),
            _ => None,
        })?;
    }
    text.get(table.get(last.as_str())?.span())
        .map(str::to_owned)
}

#[test]
fn it_is_good_as_it_is() {
    assert_eq!(told(REFERENCE), [""; 0]);
    assert!(file(REFERENCE).is_ok());
}

#[test]
fn every_key_in_it_is_known_and_its_value_legal() {
    // `forward_to`, `hash_on`, `client_ca_file` and `proxy_trusted` have no meaning with the defaults.
    let text = uncommented()
        .replace("= \"refuse\"", "= \"forward\"")
        .replace("= \"least\"", "= \"hash\"")
        .replace("client_auth = \"off\"", "client_auth = \"optional\"")
        .replacen(
            "proxy_protocol = \"off\"",
            "proxy_protocol = \"required\"",
            1,
        );
    assert_eq!(told(&text), [""; 0]);
}

#[test]
fn every_known_key_is_in_it_with_its_default() {
    let text = uncommented();
    let keys = known_keys();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        let found = value_of(&text, &key.path);
        let found = found.unwrap_or_else(|| panic!("{} is not in the file", key.path));
        if let Default::Is(default) = &key.default {
            assert_eq!(&found, default, "{}", key.path);
        }
    }
}

#[test]
fn every_key_says_when_a_change_takes_hold() {
    let text = uncommented();
    let mut said = 0;
    for paragraph in text.split("\n\n") {
        let keys = paragraph
            .lines()
            .filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
        let keys = keys.count();
        let says = ["Restart.", "Reload."].map(|word| paragraph.contains(word));
        assert!(keys == 0 || says.contains(&true), "{paragraph}");
        said += keys;
    }
    assert_eq!(said, known_keys().len());
}
