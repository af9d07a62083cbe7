//! A value with its origin, so that a fault can be told where it is to be mended.

use std::ops::Range;

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(in crate::config) struct Found<T> {
    pub(in crate::config) value: T,
    pub(in crate::config) origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Origin {
    /// Nobody gave one.
    Default,
    /// The file, at this span.
    File(Range<usize>),
    /// A flag, or its environment variable.
    Flag(&'static str),
    /// What was given is wrong and stands reported; the value is the default, so that reading goes
    /// on.
    Faulty,
}

impl<T> Found<T> {
    /// A value that a flag gave.
    pub(in crate::config) fn by_flag(value: T, flag: &'static str) -> Self {
        Self {
            value,
            origin: Origin::Flag(flag),
        }
    }

    /// Whether conclusions may be drawn from the value.
    pub(in crate::config) fn is_sound(&self) -> bool {
        self.origin != Origin::Faulty
    }

    /// Whether somebody gave the value, rightly or wrongly.
    pub(in crate::config) fn is_given(&self) -> bool {
        self.origin != Origin::Default
    }

    /// Each of the items made into something else.
    pub(in crate::config) fn map_each<U>(self, map: impl FnMut(T::Item) -> U) -> Found<Vec<U>>
    where
        T: IntoIterator,
    {
        Found {
            value: self.value.into_iter().map(map).collect(),
            origin: self.origin,
        }
    }

    /// The value as another table's default.
    pub(in crate::config) fn inherited(&self) -> Self
    where
        T: Clone,
    {
        let origin = if self.is_sound() {
            Origin::Default
        } else {
            Origin::Faulty
        };
        Self {
            value: self.value.clone(),
            origin,
        }
    }
}
