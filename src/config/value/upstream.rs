//! How an upstream's sessions are spread, and its health told.

use http::HeaderName;
use toml::de::DeValue;

use super::choice::{Choice, word};
use super::number::integer;
use super::{Show, Wrong, parse_share, string};
use crate::config::keys::Default;
use crate::config::upstream::{BalanceWord, CheckKind, HashOn};

/// A share of a whole, from 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct Percent(pub(in crate::config) f64);

impl Show for Percent {
    fn show(&self) -> String {
        format!("\"{}%\"", self.0 * 100.0)
    }
}

impl Choice for BalanceWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("least", BalanceWord::Least),
        ("round-robin", BalanceWord::RoundRobin),
        ("random-two", BalanceWord::RandomTwo),
        ("hash", BalanceWord::Hash),
    ];
}

impl Choice for CheckKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tcp", CheckKind::Tcp),
        ("http", CheckKind::Http),
        ("websocket", CheckKind::Websocket),
    ];
}

/// Which endpoint a session goes to.
pub(in crate::config) fn balance(value: &DeValue<'_>) -> Result<BalanceWord, Wrong> {
    word(value)
}

/// What a check asks.
pub(in crate::config) fn check_kind(value: &DeValue<'_>) -> Result<CheckKind, Wrong> {
    word(value)
}

/// How many times in a row.
pub(in crate::config) fn times(value: &DeValue<'_>) -> Result<u16, Wrong> {
    integer(value, 1..=1000)
}

/// A share such as `50%`.
pub(in crate::config) fn percent(value: &DeValue<'_>) -> Result<Percent, Wrong> {
    parse_share(string(value, "a share", "such as \"50%\"")?).map(Percent)
}

/// The path of a check, with its query.
pub(in crate::config) fn check_path(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = string(value, "a path", "such as \"/healthz\"")?;
    if !text.starts_with('/') || !text.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        let what = format!("`{text}` is not a path");
        return Err(Wrong::new(
            what,
            "write it from its first slash, such as \"/healthz\"",
        ));
    }
    Ok(text.to_owned())
}

/// What makes two sessions the same client's.
pub(in crate::config) fn hash_on(value: &DeValue<'_>) -> Result<Option<HashOn>, Wrong> {
    const RIGHT: &str = "\"header:NAME\", \"cookie:NAME\" or \"address\"";
    let text = string(value, "what is hashed", RIGHT)?;
    let found = match text.split_once(':') {
        None if text == "address" => Some(HashOn::Address),
        Some(("header", name)) => HeaderName::try_from(name).ok().map(HashOn::Header),
        // RFC 6265 4.1.1: the name of a cookie is a token, as that of a header is.
        Some(("cookie", name)) => HeaderName::try_from(name)
            .ok()
            .map(|_| HashOn::Cookie(name.to_owned())),
        _ => None,
    };
    match found {
        Some(on) => Ok(Some(on)),
        None => {
            let what = format!("`{text}` is nothing that can be hashed");
            Err(Wrong::new(what, format!("write {RIGHT}")))
        }
    }
}

impl Show for Option<HashOn> {
    fn show(&self) -> String {
        match self {
            None => String::new(),
            Some(HashOn::Address) => "\"address\"".to_owned(),
            Some(HashOn::Header(name)) => format!("\"header:{name}\""),
            Some(HashOn::Cookie(name)) => format!("\"cookie:{name}\""),
        }
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn what_is_hashed_is_a_header_a_cookie_or_the_address() {
        let header = HashOn::Header(HeaderName::from_static("x-user"));
        for (text, on) in [
            ("\"header:X-User\"", header),
            ("\"cookie:SID\"", HashOn::Cookie("SID".to_owned())),
            ("\"address\"", HashOn::Address),
        ] {
            assert_eq!(taken(text, hash_on), Some(on.clone()));
            assert_eq!(taken(&Some(on.clone()).show(), hash_on), Some(on));
        }
        for text in [
            "\"ip\"",
            "\"header:\"",
            "\"header:a b\"",
            "\"cookie:a;b\"",
            "\"\"",
        ] {
            refused(text, hash_on, "nothing that can be hashed", "header:NAME");
        }
    }

    #[test]
    fn a_share_a_count_and_a_path_are_held_to_their_limits() {
        assert_eq!(taken("\"50%\"", percent), Percent(0.5));
        assert_eq!(Percent(0.5).show(), "\"50%\"");
        refused("\"0%\"", percent, "is not a share", "\"25%\"");
        assert_eq!(taken("5", times), 5);
        refused("0", times, "out of range", "from 1 to 1000");
        assert_eq!(taken("\"/up?deep=1\"", check_path), "/up?deep=1");
        for text in ["\"up\"", "\"/a b\"", "\"/a\\r\\nx: y\"", "\"/#x\""] {
            refused(text, check_path, "is not a path", "/healthz");
        }
    }
}
