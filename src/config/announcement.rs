//! The text message that tells a client to come back elsewhere, before its Close: a template.

use super::value::{Wrong, nearest};

/// The most bytes of the message, with its gaps filled.
const LONGEST: usize = 1024;
/// Digits of the greatest number that fills a gap: milliseconds of the longest duration taken.
const DIGITS: usize = 9;
const IN_MS: &str = "in_ms";
const CLOSE_IN_MS: &str = "close_in_ms";

/// A text with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement(Box<[Piece]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// When the client should come back.
    InMs,
    /// When the Close comes.
    CloseInMs,
}

impl Announcement {
    /// Reads a template. A gap is a word in braces: JSON has no such thing, and its own braces are
    /// text.
    pub(super) fn parse(template: &str) -> Result<Announcement, Wrong> {
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), template);
        while let Some(brace) = rest.find('{') {
            text.push_str(&rest[..brace]);
            rest = &rest[brace..];
            match gap(rest) {
                Some(name) => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(piece(name)?);
                    rest = &rest[name.len() + 2..];
                }
                None => {
                    text.push('{');
                    rest = &rest[1..];
                }
            }
        }
        text.push_str(rest);
        pieces.push(Piece::Text(text));
        let announcement = Announcement(pieces.into());
        match announcement.longest() {
            0..=LONGEST => Ok(announcement),
            bytes => Err(Wrong::new(
                format!("the announcement has up to {bytes} bytes"),
                format!("write at most {LONGEST}, with 9 for each number"),
            )),
        }
    }

    fn longest(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::InMs | Piece::CloseInMs => DIGITS,
        };
        self.0.iter().map(length).sum()
    }

    /// The message: at most 1024 bytes.
    pub fn fill(&self, in_ms: u64, close_in_ms: u64) -> String {
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::InMs => in_ms.to_string(),
            Piece::CloseInMs => close_in_ms.to_string(),
        });
        filled.collect()
    }

    /// The template.
    pub(super) fn template(&self) -> String {
        let written = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::InMs => format!("{{{IN_MS}}}"),
            Piece::CloseInMs => format!("{{{CLOSE_IN_MS}}}"),
        });
        written.collect()
    }
}

/// The word of a gap that begins with the first byte of `text`.
fn gap(text: &str) -> Option<&str> {
    let (word, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && word.chars().all(is_word)).then_some(word)
}

fn piece(name: &str) -> Result<Piece, Wrong> {
    match name {
        IN_MS => Ok(Piece::InMs),
        CLOSE_IN_MS => Ok(Piece::CloseInMs),
        other => {
            let known = format!("known are {{{IN_MS}}} and {{{CLOSE_IN_MS}}}");
            let help = match nearest(other, [IN_MS, CLOSE_IN_MS]) {
                Some(meant) => format!("did you mean {{{meant}}}; {known}"),
                None => known,
            };
            Err(Wrong::new(format!("`{{{other}}}` is not known here"), help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_and_braces_of_json_are_text() {
        let template = r#"{"a":{},"in":{in_ms},"b":{"c":[{close_in_ms}]},"{in_ms": "{1}"}"#;
        let announcement = Announcement::parse(template).unwrap();
        assert_eq!(
            announcement.fill(2_500, 5_000),
            r#"{"a":{},"in":2500,"b":{"c":[5000]},"{in_ms": "{1}"}"#
        );
        assert_eq!(announcement.template(), template);
    }

    #[test]
    fn a_gap_that_is_not_known_names_those_that_are() {
        let wrong = Announcement::parse("go in {inms}").unwrap_err();
        assert_eq!(wrong.what, "`{inms}` is not known here");
        assert_eq!(
            wrong.help,
            "did you mean {in_ms}; known are {in_ms} and {close_in_ms}"
        );
        let wrong = Announcement::parse("see {url}").unwrap_err();
        assert_eq!(wrong.help, "known are {in_ms} and {close_in_ms}");
    }

    #[test]
    fn the_length_counts_with_the_gaps_filled() {
        let text = "é".repeat(507);
        let longest = Announcement::parse(&format!("{text}{{in_ms}}x")).unwrap();
        assert_eq!(longest.fill(604_800_000, 0).len(), 1024);
        let wrong = Announcement::parse(&format!("{text}{{in_ms}}xy")).unwrap_err();
        assert_eq!(wrong.what, "the announcement has up to 1025 bytes");
    }
}
