//! What is wrong, or legal but dangerous, in a configuration, and how it is shown.

use std::error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Whether a finding keeps the program from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The program does not start with it.
    Error,
    /// Legal, but likely not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One thing found, with what would be right. `Display` renders it whole, over several lines,
/// without a line feed at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is an error.
    pub severity: Severity,
    /// The path of the key, such as `drain.window`, or the flag; empty for the text as a whole.
    pub key: String,
    /// Where in the file; none for a flag, or for what is missing altogether.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub help: String,
}

/// A stretch of a file's text, on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The text at fault, as far as it stands on this line; may be empty.
    pub text: String,
    /// The whole line, without its end.
    pub source: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place {
            file, line, column, ..
        }) = &self.place
        {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if let Some(Place {
            column,
            text,
            source,
            ..
        }) = &self.place
        {
            // A tab stays a tab, so that the carets stand under the text whatever its width.
            let indent: String = source
                .chars()
                .take(column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let carets = "^".repeat(text.chars().count().max(1));
            write!(f, "\n    {source}\n    {indent}{carets}")?;
        }
        if !self.help.is_empty() {
            write!(f, "\n    help: {}", self.help)?;
        }
        Ok(())
    }
}

/// Why a configuration is refused: every error, and the warnings met on the way, in the order of
/// the file. There is at least one error.
#[derive(Clone, Debug)]
pub struct Faults {
    findings: Vec<Finding>,
}

impl Faults {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// The errors and warnings, in the order of the file.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many of the findings are errors.
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl error::Error for Faults {}

/// The text of a configuration, and where its lines are.
pub(super) struct Source<'a> {
    /// None: there is no file, and a place cannot be named.
    file: Option<Arc<str>>,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: Option<Arc<str>>, text: &'a str) -> Self {
        Self { file, text }
    }

    /// The place of a span of bytes. What goes on over several lines is shown to the end of its
    /// first.
    pub(super) fn place(&self, span: &Range<usize>) -> Option<Place> {
        let file = Arc::clone(self.file.as_ref()?);
        let start = self.text.floor_char_boundary(span.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_length = self.text[line_start..].find('\n');
        let line_end = line_length.map_or(self.text.len(), |length| line_start + length);
        let source = self.text[line_start..line_end].trim_end_matches('\r');
        let end = self
            .text
            .floor_char_boundary(span.end)
            .clamp(start, line_end);
        Some(Place {
            file,
            line: before.matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            text: self.text[start..end].trim_end().to_owned(),
            source: source.to_owned(),
        })
    }

    /// The text of a span, as it stands in the file.
    pub(super) fn text(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(text: &str, span: Range<usize>) -> Finding {
        Finding {
            severity: Severity::Error,
            key: "drain.window".into(),
            place: Source::new(Some("a.toml".into()), text).place(&span),
            what: "wrong".into(),
            help: "right".into(),
        }
    }

    #[test]
    fn the_carets_stand_under_the_text() {
        assert_eq!(
            finding("[drain]\r\n\twindow = \"é x\"\r\nmargin = 1\n", 19..25).to_string(),
            "a.toml:2:11: error: drain.window: wrong\n    \
             \twindow = \"é x\"\n    \t         ^^^^^\n    help: right"
        );
    }

    #[test]
    fn columns_are_characters_and_not_bytes() {
        let shown = finding("\"éé\" = 30\n", 9..11).to_string();
        assert!(shown.starts_with("a.toml:1:8: "), "{shown}");
        assert!(
            shown.contains("\n    \"éé\" = 30\n           ^^\n"),
            "{shown}"
        );
    }

    #[test]
    fn a_span_over_lines_ends_with_its_first() {
        let shown = finding("a = [\n1,\n]\n", 4..10).to_string();
        assert!(shown.contains("\n    a = [\n        ^\n"), "{shown}");
    }

    #[test]
    fn an_empty_span_at_the_end_of_the_text_gets_one_caret() {
        let shown = finding("a =", 3..3).to_string();
        assert!(shown.starts_with("a.toml:1:4: "), "{shown}");
        assert!(shown.contains("\n       ^\n"), "{shown}");
    }

    #[test]
    fn without_a_place_only_the_words_are_shown() {
        let mut finding = finding("", 0..0);
        finding.place = None;
        assert_eq!(
            finding.to_string(),
            "error: drain.window: wrong\n    help: right"
        );
    }
}
