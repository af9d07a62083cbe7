//! What is known of the platforms: written by who speaks to them, shown by metrics and status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::PlatformName;

/// What is known of one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// Whether the last call of every kind went well; false before the first.
    pub up: bool,
    /// What kept a last call from it that did not.
    pub error: Option<String>,
    /// What the platform has said, in its own words. Nothing secret comes in here.
    pub known: BTreeMap<&'static str, String>,
    /// Calls, by name and result.
    pub calls: BTreeMap<(&'static str, &'static str), u64>,
    /// Calls that last went wrong, and how: one that goes well says nothing of another.
    failing: BTreeMap<&'static str, String>,
}

impl Platform {
    fn judge(&mut self) {
        self.error = self.failing.values().next().cloned();
        self.up = self.error.is_none();
    }
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

    /// Says that a call goes well; true if it did not before.
    pub fn up(&self, name: PlatformName, call: &'static str) -> bool {
        let mut board = self.lock();
        let platform = board.entry(name).or_default();
        let is_news = platform.failing.remove(call).is_some();
        platform.judge();
        is_news
    }

    /// Says that a call does not go as it should; true if that is news.
    pub fn down(&self, name: PlatformName, call: &'static str, error: &str) -> bool {
        let mut board = self.lock();
        let platform = board.entry(name).or_default();
        let error = format!("{call}: {error}");
        let is_news = platform.failing.insert(call, error).is_none();
        platform.judge();
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

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: PlatformName = PlatformName::Kubernetes;

    #[test]
    fn a_call_that_goes_well_says_nothing_of_another_that_fails() {
        let board = Board::default();
        board.add(NAME);
        let error = || board.now().remove(&NAME).and_then(|known| known.error);
        assert!(!board.now()[&NAME].up, "nothing is known yet");
        assert!(!board.up(NAME, "get"));
        assert!(board.now()[&NAME].up);
        assert!(board.down(NAME, "patch", "forbidden"));
        assert!(!board.up(NAME, "get"), "it did not fail before");
        assert!(!board.down(NAME, "patch", "forbidden still"), "no news");
        assert_eq!(error().as_deref(), Some("patch: forbidden still"));
        assert!(!board.now()[&NAME].up);
        assert!(board.up(NAME, "patch"));
        assert_eq!((error(), board.now()[&NAME].up), (None, true));
    }
}
