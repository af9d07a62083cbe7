//! What the sections of one file share: its text, and the findings.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable};

use super::{Origin, Section};
use crate::config::finding::{Finding, Severity, Source};
use crate::config::keys::Key;
use crate::config::value::{Wrong, nearest};

/// Collects what the sections of one file find.
pub(in crate::config) struct Reader<'a> {
    source: Source<'a>,
    findings: RefCell<Vec<(Kind, Finding)>>,
    unknown: RefCell<Vec<Unknown>>,
    keys: RefCell<Vec<Key>>,
}

/// What a finding is about. After an error of syntax most others are its echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syntax,
    Value,
    Unknown,
    /// Something is missing, or does not fit something else.
    Whole,
}

/// A key that no section asked for, kept until it is known what the others asked for.
struct Unknown {
    span: Range<usize>,
    key: String,
    path: String,
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(in crate::config) fn new(source: Source<'a>) -> Self {
        Self {
            source,
            findings: RefCell::default(),
            unknown: RefCell::default(),
            keys: RefCell::default(),
        }
    }

    /// The table that all others are in.
    pub(in crate::config) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section {
            reader: self,
            table: Some(table),
            header: None,
            path: String::new(),
            pattern: String::new(),
            asked: Vec::new(),
        }
    }

    /// Reports what the parser could not read.
    pub(in crate::config) fn syntax(&self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let unquoted = error.message().starts_with("string values must be quoted");
        let (what, help) = match self.source.text(&span) {
            "" if unquoted => ("the value is missing".to_owned(), String::new()),
            text if unquoted => (
                format!("`{text}` is not in quotes"),
                format!("write \"{text}\""),
            ),
            _ => (error.message().to_owned(), String::new()),
        };
        self.add(Kind::Syntax, Severity::Error, Some(&span), "", what, help);
    }

    /// Reports a value that is not what it should be.
    pub(in crate::config) fn wrong(&self, span: &Range<usize>, key: &str, wrong: Wrong) {
        self.add(
            Kind::Value,
            Severity::Error,
            Some(span),
            key,
            wrong.what,
            wrong.help,
        );
    }

    pub(super) fn missing(&self, header: Option<&Range<usize>>, key: &str, example: &str) {
        let help = format!("write `{example}`");
        self.add(
            Kind::Whole,
            Severity::Error,
            header,
            key,
            "is missing".to_owned(),
            help,
        );
    }

    pub(super) fn unknown(
        &self,
        key: &Spanned<DeString<'_>>,
        path: String,
        asked: &[&'static str],
    ) {
        self.unknown.borrow_mut().push(Unknown {
            span: key.span(),
            key: key.get_ref().to_string(),
            path,
            asked: asked.to_vec(),
        });
    }

    /// Reports values that do not fit each other, at the one to change.
    pub(in crate::config) fn error(&self, origin: &Origin, key: &str, what: String, help: String) {
        self.whole(Severity::Error, origin, key, what, help);
    }

    /// Reports what is legal but dangerous.
    pub(in crate::config) fn warning(
        &self,
        origin: &Origin,
        key: &str,
        what: String,
        help: String,
    ) {
        self.whole(Severity::Warning, origin, key, what, help);
    }

    fn whole(&self, severity: Severity, origin: &Origin, key: &str, what: String, help: String) {
        match origin {
            Origin::File(span) => self.add(Kind::Whole, severity, Some(span), key, what, help),
            Origin::Flag(flag) => self.add(Kind::Whole, severity, None, flag, what, help),
            Origin::Default => self.add(Kind::Whole, severity, None, key, what, help),
            // Reported as what it is; a conclusion from it would be noise.
            Origin::Faulty => {}
        }
    }

    pub(super) fn known(&self, key: Key) {
        self.keys.borrow_mut().push(key);
    }

    fn add(
        &self,
        kind: Kind,
        severity: Severity,
        span: Option<&Range<usize>>,
        key: &str,
        what: String,
        help: String,
    ) {
        let place = span.and_then(|span| self.source.place(span));
        let key = key.to_owned();
        self.findings.borrow_mut().push((
            kind,
            Finding {
                severity,
                key,
                place,
                what,
                help,
            },
        ));
    }

    /// The keys that were asked for, in the order of asking.
    pub(in crate::config) fn into_keys(self) -> Vec<Key> {
        self.keys.into_inner()
    }

    /// Everything found, in the order of the file; what has no place in it comes first.
    pub(in crate::config) fn into_findings(self) -> Vec<Finding> {
        for unknown in self.unknown.take() {
            let help = self.meant(&unknown);
            let what = "is not a known key".to_owned();
            let span = Some(&unknown.span);
            self.add(
                Kind::Unknown,
                Severity::Error,
                span,
                &unknown.path,
                what,
                help,
            );
        }
        let mut findings = self.findings.into_inner();
        retain_certain(&mut findings);
        let mut findings: Vec<_> = findings.into_iter().map(|(_, finding)| finding).collect();
        findings.sort_by_key(|finding| finding.place.as_ref().map(|at| (at.line, at.column)));
        findings
    }

    fn meant(&self, unknown: &Unknown) -> String {
        if let Some(meant) = nearest(&unknown.key, unknown.asked.iter().copied()) {
            return format!("did you mean `{meant}`");
        }
        let keys = self.keys.borrow();
        let elsewhere = keys.iter().find_map(|key| match key.path.rsplit_once('.') {
            Some((table, last)) if last == unknown.key => Some(table),
            _ => None,
        });
        match elsewhere {
            Some("listener") => "it belongs into [[listener]]".to_owned(),
            Some(table) => format!("it belongs into [{table}]"),
            None => format!("the keys known here are {}", unknown.asked.join(", ")),
        }
    }
}

/// Leaves out what may be but the echo of an error of syntax: after one, a key may seem missing,
/// and after a broken header, keys seem to be in a table that they are not in.
fn retain_certain(findings: &mut Vec<(Kind, Finding)>) {
    let broken: Vec<_> = findings
        .iter()
        .filter(|(kind, _)| *kind == Kind::Syntax)
        .filter_map(|(_, finding)| finding.place.clone())
        .collect();
    if broken.is_empty() {
        return;
    }
    let header = broken
        .iter()
        .filter(|place| place.source.trim_start().starts_with('['));
    let certain_to = header.map(|place| place.line).min().unwrap_or(usize::MAX);
    findings.retain(|(kind, finding)| {
        let line = finding
            .place
            .as_ref()
            .map_or(usize::MAX, |place| place.line);
        let apart = broken.iter().all(|place| place.line != line);
        match kind {
            Kind::Syntax => true,
            Kind::Value | Kind::Unknown => apart && line < certain_to,
            Kind::Whole => false,
        }
    });
}
