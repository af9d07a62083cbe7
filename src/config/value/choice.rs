//! Keys that take one of a few words.

use toml::de::DeValue;

use super::{Show, Wrong, nearest, string};
use crate::config::types::{
    CloseOrder, ExitWhenDrained, Forwarded, LateArrivals, LogFormat, OnFreeze, OnRebalance,
    Protocol, Readiness,
};

/// A type that is written as one of a few words.
pub(in crate::config) trait Choice: Copy + PartialEq + 'static {
    /// Every value and its word.
    const WORDS: &'static [(&'static str, Self)];
}

impl Choice for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("http", Protocol::Http),
        ("tcp", Protocol::Tcp),
        ("tls-passthrough", Protocol::TlsPassthrough),
    ];
}

impl Choice for Forwarded {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("append", Forwarded::Append),
        ("replace", Forwarded::Replace),
        ("leave", Forwarded::Leave),
    ];
}

impl Choice for Readiness {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("fail", Readiness::Fail),
        ("keep", Readiness::Keep),
        ("auto", Readiness::Auto),
    ];
}

impl Choice for LateArrivals {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("refuse", LateArrivals::Refuse),
        ("serve", LateArrivals::Serve),
        ("forward", LateArrivals::Forward),
    ];
}

impl Choice for CloseOrder {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", CloseOrder::Auto),
        ("client", CloseOrder::Client),
        ("agent", CloseOrder::Agent),
    ];
}

impl Choice for ExitWhenDrained {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("on_signal", ExitWhenDrained::OnSignal),
        ("always", ExitWhenDrained::Always),
    ];
}

impl Choice for OnRebalance {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("drain", OnRebalance::Drain),
        ("ignore", OnRebalance::Ignore),
    ];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Choice for OnFreeze {
    const WORDS: &'static [(&'static str, Self)] =
        &[("drain", OnFreeze::Drain), ("ignore", OnFreeze::Ignore)];
}

/// A word from the text of a flag.
pub(in crate::config) fn parse_word<T: Choice>(text: &str) -> Result<T, Wrong> {
    let words = || T::WORDS.iter().map(|(word, _)| *word);
    if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let all = listed::<T>();
    let help = match nearest(text, words()) {
        Some(meant) => format!("did you mean \"{meant}\"; the words are {all}"),
        None => format!("write {all}"),
    };
    Err(Wrong::new(format!("`{text}` is not known here"), help))
}

fn listed<T: Choice>() -> String {
    let words: Vec<_> = T::WORDS
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    words.join(" or ")
}

pub(super) fn word<T: Choice>(value: &DeValue<'_>) -> Result<T, Wrong> {
    parse_word(string(value, "a word", &listed::<T>())?)
}

/// What is spoken on a listener.
pub(in crate::config) fn protocol(value: &DeValue<'_>) -> Result<Protocol, Wrong> {
    word(value)
}

/// What becomes of `Forwarded` and the like.
pub(in crate::config) fn forwarded(value: &DeValue<'_>) -> Result<Forwarded, Wrong> {
    word(value)
}

/// Whether readiness fails during a drain.
pub(in crate::config) fn readiness(value: &DeValue<'_>) -> Result<Readiness, Wrong> {
    word(value)
}

/// What a late session meets.
pub(in crate::config) fn late_arrivals(value: &DeValue<'_>) -> Result<LateArrivals, Wrong> {
    word(value)
}

/// Which side is told first.
pub(in crate::config) fn close_order(value: &DeValue<'_>) -> Result<CloseOrder, Wrong> {
    word(value)
}

/// When the process ends with its drain.
pub(in crate::config) fn exit_when_drained(value: &DeValue<'_>) -> Result<ExitWhenDrained, Wrong> {
    word(value)
}

/// How a line of the log looks.
pub(in crate::config) fn log_format(value: &DeValue<'_>) -> Result<LogFormat, Wrong> {
    word(value)
}

impl<T: Choice> Show for T {
    fn show(&self) -> String {
        let word = T::WORDS
            .iter()
            .find(|(_, value)| value == self)
            .map(|(word, _)| *word);
        format!("\"{}\"", word.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn each_word_is_taken_and_shown_again() {
        fn all<T: Choice + std::fmt::Debug>() {
            for (word, value) in T::WORDS {
                assert_eq!(parse_word::<T>(word), Ok(*value));
                assert_eq!(value.show(), format!("\"{word}\""));
            }
        }
        all::<Protocol>();
        all::<Forwarded>();
        all::<Readiness>();
        all::<LateArrivals>();
        all::<LogFormat>();
        assert_eq!(taken("\"http\"", protocol), Protocol::Http);
    }

    #[test]
    fn other_words_are_refused_with_the_right_ones() {
        refused(
            "\"HTTP\"",
            protocol,
            "`HTTP` is not known",
            "did you mean \"http\"",
        );
        refused(
            "\"udp\"",
            protocol,
            "`udp` is not known",
            "write \"http\" or \"tcp\"",
        );
        refused(
            "1",
            protocol,
            "expected a word in quotes, found a number",
            "\"tcp\"",
        );
        refused(
            "\"repalce\"",
            forwarded,
            "`repalce`",
            "did you mean \"replace\"",
        );
    }
}
