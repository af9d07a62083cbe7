//! The reader of one table: asked key by key, it collects every fault and goes on.
//!
//! Not serde, which stops at the first fault. Each key is asked for once, with its parser and its
//! default, and that call is all there is of it: what was asked for is what is known.

mod found;
mod reader;

use std::ops::Range;

use toml::de::{DeTable, DeValue};

pub(super) use found::{Found, Origin};
pub(super) use reader::Reader;

use super::keys::{Default, Key};
use super::value::{Show, Wrong, kind};

/// Turns a TOML value into a typed one.
pub(super) type Parse<T> = fn(&DeValue<'_>) -> Result<T, Wrong>;

/// One table of the file, or one that is not there and is all defaults.
///
/// Dropped, it reports the keys that nobody asked for.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: Option<&'a DeTable<'a>>,
    /// The header of the table, for what is missing in it.
    header: Option<Range<usize>>,
    /// As shown: `listener[0]`.
    path: String,
    /// As listed: `listener`.
    pattern: String,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The value of a key, or its default.
    pub(super) fn read<T: Show>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
        default: T,
    ) -> Found<T> {
        let shown = default.as_default();
        self.take(key, parse, shown).unwrap_or_else(|origin| Found {
            value: default,
            origin,
        })
    }

    /// The value of a key, or that of another table; `said` describes a default that is not the
    /// same for everybody.
    pub(super) fn read_or<T: Clone>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
        default: &Found<T>,
        said: &'static str,
    ) -> Found<T> {
        self.take(key, parse, Default::Said(said))
            .unwrap_or_else(|origin| match origin {
                Origin::Faulty => Found {
                    value: default.value.clone(),
                    origin,
                },
                _ => default.inherited(),
            })
    }

    /// The value of a key that must be there; none if it is missing or wrong, which is reported.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
        example: &str,
    ) -> Option<Found<T>> {
        match self.take(key, parse, Default::Required) {
            Ok(found) => Some(found),
            Err(Origin::Faulty) => None,
            Err(_) => {
                self.reader
                    .missing(self.header.as_ref(), &self.key(key), example);
                None
            }
        }
    }

    /// The items of a list that must be there and not be empty: those that are right.
    pub(super) fn required_list<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
        example: &str,
    ) -> Vec<Found<T>> {
        let entry = self.find(key, Default::Required);
        let key = self.key(key);
        let Some((span, value)) = entry else {
            self.reader.missing(self.header.as_ref(), &key, example);
            return Vec::new();
        };
        let help = || format!("write `{example}`");
        let DeValue::Array(items) = value else {
            let what = format!("expected a list, found {}", kind(value));
            self.reader.wrong(&span, &key, Wrong { what, help: help() });
            return Vec::new();
        };
        if items.is_empty() {
            let what = "the list is empty".to_owned();
            self.reader.wrong(&span, &key, Wrong { what, help: help() });
        }
        let mut found = Vec::new();
        for item in items {
            match parse(item.get_ref()) {
                Ok(value) => found.push(Found {
                    value,
                    origin: Origin::File(item.span()),
                }),
                Err(wrong) => self.reader.wrong(&item.span(), &key, wrong),
            }
        }
        found
    }

    /// A table below this one, as `[key]`.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'a> {
        self.asked.push(key);
        let (table, header) = match self.entry(key) {
            Some((span, DeValue::Table(table))) => (Some(table), Some(span)),
            Some((span, other)) => {
                let what = format!("expected a table, found {}", kind(other));
                let help = format!("write `[{}]`, and its keys below", join(&self.pattern, key));
                self.reader
                    .wrong(&span, &self.key(key), Wrong { what, help });
                (None, None)
            }
            None => (None, None),
        };
        self.below(key, key, table, header)
    }

    /// The tables of a list below this one, as `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Found<Vec<Section<'a>>> {
        self.asked.push(key);
        let Some((span, value)) = self.entry(key) else {
            return Found {
                value: Vec::new(),
                origin: Origin::Default,
            };
        };
        let wrong = |found: &str| Wrong {
            what: format!("expected a list of tables, found {found}"),
            help: format!("write `[[{key}]]`, with two brackets, before each"),
        };
        let DeValue::Array(items) = value else {
            self.reader.wrong(&span, &self.key(key), wrong(kind(value)));
            return Found {
                value: Vec::new(),
                origin: Origin::Faulty,
            };
        };
        let mut found = Found {
            value: Vec::new(),
            origin: Origin::File(span),
        };
        for (index, item) in items.iter().enumerate() {
            let name = format!("{key}[{index}]");
            match item.get_ref() {
                DeValue::Table(table) => {
                    found
                        .value
                        .push(self.below(&name, key, Some(table), Some(item.span())));
                }
                other => {
                    self.reader
                        .wrong(&item.span(), &self.key(&name), wrong(kind(other)));
                    found.origin = Origin::Faulty;
                }
            }
        }
        found
    }

    /// The tables below this one whose names are the user's, as `[key.NAME]`, in the order of the
    /// file; each with its name, unless that is wrong.
    pub(super) fn named_tables<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
    ) -> Found<Vec<(Option<Found<T>>, Section<'a>)>> {
        let given = self.entry(key).is_some();
        let mut names = self.table(key);
        // Taken, for the keys of this table are the user's words: none of them is unknown.
        let Some(table) = names.table.take() else {
            let origin = if given {
                Origin::Faulty
            } else {
                Origin::Default
            };
            return Found {
                value: Vec::new(),
                origin,
            };
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut sections = Found {
            value: Vec::new(),
            origin: names.origin(),
        };
        for (name, value) in entries {
            let path = names.key(name.get_ref());
            let DeValue::Table(table) = value.get_ref() else {
                let what = format!("expected a table, found {}", kind(value.get_ref()));
                let help = format!("write `[{key}.NAME]` above it, with a name of your choice");
                self.reader.wrong(&name.span(), &path, Wrong { what, help });
                sections.origin = Origin::Faulty;
                continue;
            };
            let found = match parse(&DeValue::String(name.get_ref().clone())) {
                Ok(value) => Some(Found {
                    value,
                    origin: Origin::File(name.span()),
                }),
                Err(wrong) => {
                    self.reader.wrong(&name.span(), &path, wrong);
                    None
                }
            };
            let header = Some(value.span());
            let section = names.below(name.get_ref(), "NAME", Some(table), header);
            sections.value.push((found, section));
        }
        sections
    }

    /// A table below this one of which nothing is in the file.
    pub(super) fn absent(&self, name: &str) -> Section<'a> {
        self.below(name, name, None, None)
    }

    /// The path of the table, as it is shown.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a key in this table, as it is shown.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Where the table begins.
    pub(super) fn origin(&self) -> Origin {
        self.header.clone().map_or(Origin::Default, Origin::File)
    }

    fn below(
        &self,
        name: &str,
        pattern: &str,
        table: Option<&'a DeTable<'a>>,
        header: Option<Range<usize>>,
    ) -> Section<'a> {
        Section {
            reader: self.reader,
            table,
            header,
            path: join(&self.path, name),
            pattern: join(&self.pattern, pattern),
            asked: Vec::new(),
        }
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
        default: Default,
    ) -> Result<Found<T>, Origin> {
        let (span, value) = self.find(key, default).ok_or(Origin::Default)?;
        match parse(value) {
            Ok(value) => Ok(Found {
                value,
                origin: Origin::File(span),
            }),
            Err(wrong) => {
                self.reader.wrong(&span, &self.key(key), wrong);
                Err(Origin::Faulty)
            }
        }
    }

    /// Looks a key up, which makes it a known one.
    fn find(
        &mut self,
        key: &'static str,
        default: Default,
    ) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        self.asked.push(key);
        self.reader.known(Key {
            path: join(&self.pattern, key),
            default,
        });
        self.entry(key)
    }

    fn entry(&self, key: &str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        self.table?
            .get(key)
            .map(|value| (value.span(), value.get_ref()))
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                self.reader
                    .unknown(key, self.key(key.get_ref()), &self.asked);
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
