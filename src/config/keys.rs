//! Every key there is, with its default.

use std::fmt;

use toml::de::DeTable;

use super::finding::Source;
use super::schema::Raw;
use super::section::Reader;

/// A key that the configuration file may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its path: `drain.window`; for tables that may be there several times, `listener.bind` and
    /// `upstream.NAME.endpoints`.
    pub path: String,
    /// What holds without it.
    pub default: Default,
}

/// What holds without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value, as TOML.
    Is(String),
    /// What no constant says, in words.
    Said(&'static str),
    /// Nothing: the key must be there.
    Required,
}

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Default::Is(value) => f.write_str(value),
            Default::Said(words) => f.write_str(words),
            Default::Required => f.write_str("required"),
        }
    }
}

/// Every known key, as the reader itself asks for them.
pub fn known_keys() -> Vec<Key> {
    // One of each table that may be there several times; its missing keys are no matter here.
    const TABLES: &str = "[[listener]]\n[[listener.route]]\n[upstream.agent]\n";
    let (table, _) = DeTable::parse_recoverable(TABLES);
    let reader = Reader::new(Source::new(None, TABLES));
    Raw::read(&mut reader.root(table.get_ref()));
    reader.into_keys()
}
