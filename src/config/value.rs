//! From a TOML value, or the text of a flag, to a typed one, with words for what is not one.

mod address;
mod aws;
mod choice;
mod edge;
mod hook;
mod kubernetes;
mod number;
mod protect;
mod route;
mod service;
mod switch;
mod text;
mod time;
mod tls;
mod upstream;

use std::error;
use std::fmt;

use toml::de::DeValue;

use super::keys::Default;

pub use address::ListenUrl;
pub(super) use address::{
    bind, endpoint, parse_bind, parse_endpoint, parse_socket_address, peer, socket_address,
};
pub(super) use aws::{
    describe_poll, group_name, hook_names, on_rebalance, poll, queue_url, target_groups, target_ip,
    target_port,
};
pub(super) use choice::{
    close_order, exit_when_drained, forwarded, late_arrivals, log_format, parse_word, protocol,
    readiness,
};
pub(super) use edge::{
    Bytes, Share, expected, networks, optional_duration, probes, proxy_out, share, some_bytes,
    some_connections, some_rate, whole_seconds,
};
pub(super) use hook::hook_url;
pub(super) use kubernetes::{api_url, directory, pod_name};
pub(super) use number::{
    Size, at_once, close_code, connections, exit_code, header_bytes, header_count, parse_workers,
    workers,
};
pub(super) use protect::{protect_for, protect_when};
pub(super) use route::{route_host, route_path};
pub(super) use service::{command, metadata_url, namespace, on_freeze, own_metadata_url, vm_name};
pub(super) use switch::switch;
pub(super) use text::{
    announcement, client_key, close_reason, file, health_path, listener_name, upstream_name, via,
};
pub(super) use time::{
    duration, parse_positive_duration, parse_share, parse_window, patience, positive_duration,
    show_duration, stretch, window,
};
pub(super) use upstream::{Percent, balance, check_kind, check_path, hash_on, percent, times};

pub(super) use tls::{client_auth, folder, server_name, subject_header, tls_file, tls_version};

/// A value that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong, with the value in it.
    pub what: String,
    /// What would be right.
    pub help: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (help: {})", self.what, self.help)
    }
}

impl error::Error for Wrong {}

/// How a value of this type is written in the file.
pub(super) trait Show {
    /// The value as TOML.
    fn show(&self) -> String;

    /// The value as the default of a key.
    fn as_default(&self) -> Default {
        Default::Is(self.show())
    }
}

/// The text of a string, or the words for something else; `what` and `example` complete
/// "expected" and "write".
fn string<'v>(value: &'v DeValue<'_>, what: &str, example: &str) -> Result<&'v str, Wrong> {
    value.as_str().ok_or_else(|| {
        Wrong::new(
            format!("expected {what} in quotes, found {}", kind(value)),
            format!("write {example}"),
        )
    })
}

/// What a value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word nearest to a mistyped one, if one is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fmt::Debug;

    use super::*;

    /// What a parser makes of a TOML value.
    pub(in crate::config) fn taken<T>(
        text: &str,
        parse: fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> T {
        parse(DeValue::parse(text).expect("TOML").get_ref()).expect(text)
    }

    /// Checks that a parser refuses a TOML value with these words.
    pub(in crate::config) fn refused<T: Debug>(
        text: &str,
        parse: fn(&DeValue<'_>) -> Result<T, Wrong>,
        what: &str,
        help: &str,
    ) {
        let wrong = parse(DeValue::parse(text).expect("TOML").get_ref()).expect_err(text);
        assert!(
            wrong.what.contains(what),
            "{text}: {wrong:?} does not say {what}"
        );
        assert!(
            wrong.help.contains(help),
            "{text}: {wrong:?} does not say {help}"
        );
    }

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let known = [
            "window",
            "margin",
            "finish",
            "lame_duck_min",
            "lame_duck_max",
        ];
        assert_eq!(nearest("widnow", known), Some("window"));
        assert_eq!(nearest("Margin", known), Some("margin"));
        assert_eq!(nearest("lame_duck_maximum", known), Some("lame_duck_max"));
        assert_eq!(nearest("colour", known), None);
    }
}
