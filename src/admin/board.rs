//! What is known of the platforms: written by who speaks to them, shown by metrics and status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::PlatformName;

/// What is known of one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// Whether the last call went well; false before the first.
    pub up: bool,
    /// What kept the last call from it that did not.
    pub error: Option<String>,
    /// What the platform has said, in its own words. Nothing secret comes in here.
    pub known: BTreeMap<&'static str, String>,
    /// Calls, by name and result.
    pub calls: BTreeMap<(&'static str, &'static str), u64>,
}

/// The board that all platforms write on. Those that are off are not on it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<PlatformName, Platform>>>);

impl Board {
    /// Puts a platform on the board, before anything is known of it.
    pub fn add(&self, name: PlatformName) {
        self.lock().entry(name).or_default();
    }

    /// Counts a call: `result` is `ok`, or the kind of what went wrong, one of few words.
    pub fn called(&self, name: PlatformName, call: &'static str, result: &'static str) {
        let mut board = self.lock();
        let platform = board.entry(name).or_default();
        *platform.calls.entry((call, result)).or_default() += 1;
    }

    /// Says that the platform answers; true if it did not before.
    pub fn up(&self, name: PlatformName) -> bool {
        let mut board = self.lock();
        let platform = board.entry(name).or_default();
        platform.up = true;
        platform.error.take().is_some()
    }

    /// Says that the platform does not answer as it should; true if that is news.
    pub fn down(&self, name: PlatformName, error: String) -> bool {
        let mut board = self.lock();
        let platform = board.entry(name).or_default();
        let is_news = platform.error.is_none();
        (platform.up, platform.error) = (false, Some(error));
        is_news
    }

    /// Notes what the platform has said; true if that is news.
    pub fn know(&self, name: PlatformName, what: &'static str, said: String) -> bool {
        let mut board = self.lock();
        let platform = board.entry(name).or_default();
        let is_news = platform.known.get(what) != Some(&said);
        platform.known.insert(what, said);
        is_news
    }

    /// Everything, as it is now.
    pub fn now(&self) -> BTreeMap<PlatformName, Platform> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PlatformName, Platform>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
