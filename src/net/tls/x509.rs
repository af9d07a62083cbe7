//! What a certificate says of itself (RFC 5280 4.1), as far as it is needed here: for how long it
//! holds, for which names, and whose it is. Its signature is rustls' business.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const BMP_STRING: u8 = 0x1e;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
/// `id-ce-subjectAltName`.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Until when it holds.
    pub(super) not_after: SystemTime,
    /// Whose it is, as RFC 4514 writes it, in printable ASCII.
    pub(super) subject: String,
    /// The DNS names in its subjectAltName, as they stand there.
    pub(super) names: Vec<String>,
}

/// Elements of DER, one behind the other.
#[derive(Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = behind;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }
}

/// Reads a certificate; none if it is not one.
pub(super) fn read(certificate: &[u8]) -> Option<Said> {
    let signed = Der(certificate).expect(SEQUENCE)?;
    let mut body = Der(Der(signed).expect(SEQUENCE)?);
    if body.0.first() == Some(&VERSION) {
        body.next()?;
    }
    // The serial number, the algorithm of the signature, and the issuer.
    for _ in 0..3 {
        body.next()?;
    }
    let mut validity = Der(body.expect(SEQUENCE)?);
    validity.next()?;
    let (tag, not_after) = validity.next()?;
    let subject = subject(body.expect(SEQUENCE)?)?;
    let mut names = Vec::new();
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            names = dns_names(content)?;
        }
    }
    Some(Said {
        not_after: time(tag, not_after)?,
        subject,
        names,
    })
}

fn dns_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut extensions = Der(Der(extensions).expect(SEQUENCE)?);
    while let Some((SEQUENCE, extension)) = extensions.next() {
        let mut extension = Der(extension);
        if extension.expect(OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        // A flag may stand before the value.
        while let Some((tag, value)) = extension.next() {
            if tag != OCTETS {
                continue;
            }
            let mut general = Der(Der(value).expect(SEQUENCE)?);
            while let Some((tag, name)) = general.next() {
                if tag == DNS_NAME && name.is_ascii() {
                    names.push(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
    }
    Some(names)
}

/// A time in UTC (RFC 5280 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &text[2..],
            )
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let seconds = part(4)? * 3_600 + part(6)? * 60 + part(8)?;
    let since = days(year, month, day) * 86_400 + seconds;
    let since = u64::try_from(since).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// Days from the epoch to a date of the Gregorian calendar, whose years are counted from March here,
/// so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// A distinguished name as text (RFC 4514), the last of its parts first.
fn subject(name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut sets = Der(name);
    while let Some((tag, set)) = sets.next() {
        let mut attributes = Der(Some(set).filter(|_| tag == SET)?);
        let mut part = String::new();
        while let Some((SEQUENCE, attribute)) = attributes.next() {
            let mut attribute = Der(attribute);
            let oid = attribute.expect(OID)?;
            let (tag, value) = attribute.next()?;
            if !part.is_empty() {
                part.push('+');
            }
            match key(oid) {
                Some(key) => write_value(&mut part, key, tag, value),
                None => {
                    write_oid(&mut part, oid);
                    part.push_str("=#");
                    let length = u8::try_from(value.len()).ok()?;
                    for byte in [tag, length].iter().chain(value) {
                        let _ = write!(part, "{byte:02X}");
                    }
                }
            }
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

/// The short name of an attribute.
fn key(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 12] => "title",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return None,
    })
}

fn write_oid(out: &mut String, oid: &[u8]) {
    let (mut number, mut is_first) = (0_u64, true);
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut is_first) {
            let top = (number / 40).min(2);
            let _ = write!(out, "{top}.{}", number - top * 40);
        } else {
            let _ = write!(out, ".{number}");
        }
        number = 0;
    }
}

/// A key and its value. What is not plain ASCII stands as hexadecimal pairs, which are legal
/// anywhere, and in a header field too.
fn write_value(out: &mut String, key: &str, tag: u8, value: &[u8]) {
    out.push_str(key);
    out.push('=');
    let wide = match tag {
        BMP_STRING => {
            let units = value
                .chunks_exact(2)
                .map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)))
        }
        _ => None,
    };
    let wide: Option<String> = wide.map(Iterator::collect);
    let value = wide.as_ref().map_or(value, |text| text.as_bytes());
    for (at, byte) in value.iter().copied().enumerate() {
        let is_edge = at == 0 || at + 1 == value.len();
        match byte {
            b' ' if is_edge => out.push_str("\\ "),
            b'#' if at == 0 => out.push_str("\\#"),
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, date_time_ymd};

    use super::*;

    fn said(change: impl FnOnce(&mut CertificateParams)) -> Said {
        let names = vec!["a.example".to_owned(), "*.b.example".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        read(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn names_and_the_end_of_validity_are_found() {
        for (year, month, day, since) in [
            (2026, 2, 28, 1_772_236_800),
            (2028, 2, 29, 1_835_395_200),
            (2000, 3, 1, 951_868_800),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (2100, 3, 1, 4_107_542_400),
        ] {
            let said = said(|params| params.not_after = date_time_ymd(year, month, day));
            assert_eq!(said.names, ["a.example", "*.b.example"]);
            let at = said.not_after.duration_since(UNIX_EPOCH).unwrap();
            assert_eq!(at.as_secs(), since, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn a_subject_cannot_pass_for_another() {
        let said = said(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::OrganizationName, "Ex,O=Bank\r\nX: y");
            let common = DnValue::Utf8String(" #ü=\\ ".to_owned());
            name.push(DnType::CommonName, common);
        });
        assert_eq!(said.subject, r"CN=\ #\C3\BC\=\\\ ,O=Ex\,O\=Bank\0D\0AX: y");
    }

    #[test]
    fn an_unknown_attribute_is_shown_by_its_number() {
        let said = said(|params| {
            let kind = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 7]);
            let value = DnValue::Utf8String("x".to_owned());
            params.distinguished_name.push(kind, value);
        });
        assert_eq!(said.subject, "1.3.6.1.4.1.99999.7=#0C0178");
    }

    #[test]
    fn what_is_no_certificate_is_refused_wherever_it_ends() {
        let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let whole = params.self_signed(&key).unwrap().der().to_vec();
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        let mut odd = whole.clone();
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                odd[at] = byte;
                // Anything but a panic.
                let _ = read(&odd);
            }
            odd[at] = whole[at];
        }
    }
}
