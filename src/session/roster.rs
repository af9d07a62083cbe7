//! Which listeners there are: each has a place, by which everything counts it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::ListenerIndex;
use crate::config::ListenerName;

/// How many listeners may come while the process lives and others are not gone yet.
const SPARE: usize = 64;

/// Who has a place, or had it last.
#[derive(Clone, Debug)]
struct Entry {
    name: ListenerName,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It takes sessions.
    Serves,
    /// Its sessions are going.
    Goes,
    /// Nothing is left of it but its name, for those who tell of it a little later.
    Gone,
}

/// The listeners' places. A listener that comes back while its sessions go has its place again.
#[derive(Clone, Debug)]
pub struct Roster {
    places: Arc<RwLock<Vec<Entry>>>,
    capacity: usize,
}

impl Roster {
    /// A place for each of these, in their order, and some to spare.
    pub fn new(names: impl IntoIterator<Item = ListenerName>) -> Roster {
        let serving = |name| Entry {
            name,
            state: State::Serves,
        };
        let places: Vec<_> = names.into_iter().map(serving).collect();
        Roster {
            capacity: places.len() + SPARE,
            places: Arc::new(RwLock::new(places)),
        }
    }

    /// How many places there are at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Those that take sessions.
    pub fn serving(&self) -> Vec<(ListenerIndex, ListenerName)> {
        self.list(|state| state == State::Serves)
    }

    /// Those that take sessions, and those whose sessions are going.
    pub fn all(&self) -> Vec<(ListenerIndex, ListenerName)> {
        self.list(|state| state != State::Gone)
    }

    fn list(&self, which: impl Fn(State) -> bool) -> Vec<(ListenerIndex, ListenerName)> {
        let places = self.read();
        let indexed = (0..).map(ListenerIndex).zip(places.iter());
        let meant = indexed.filter(|(_, entry)| which(entry.state));
        meant
            .map(|(index, entry)| (index, entry.name.clone()))
            .collect()
    }

    /// The place of a listener that takes sessions.
    pub fn find(&self, name: &str) -> Option<ListenerIndex> {
        let mut serving = self.serving().into_iter();
        let found = serving.find(|(_, listener)| *listener.0 == *name)?;
        Some(found.0)
    }

    /// What is shown of a place: the name of its listener, or of the last that had it.
    pub fn name(&self, listener: ListenerIndex) -> String {
        let places = self.read();
        let entry = places.get(usize::from(listener.0));
        entry
            .map(|entry| entry.name.to_string())
            .unwrap_or_default()
    }

    /// Whether each of these can have a place.
    pub fn has_room_for(&self, names: &[&ListenerName]) -> bool {
        let places = self.read();
        let taken = places.iter().filter(|entry| entry.state != State::Gone);
        let is_new = |name: &&&ListenerName| taken.clone().all(|entry| entry.name != ***name);
        taken.clone().count() + names.iter().filter(is_new).count() <= self.capacity
    }

    /// Gives a listener a place: its own, if it has or had one. None if there is none left.
    pub fn add(&self, name: &ListenerName) -> Option<ListenerIndex> {
        let mut places = self.write();
        let own = places.iter().position(|entry| entry.name == *name);
        let free = || places.iter().position(|entry| entry.state == State::Gone);
        let at = own.or_else(free).unwrap_or(places.len());
        if at == self.capacity {
            return None;
        }
        let entry = Entry {
            name: name.clone(),
            state: State::Serves,
        };
        match places.get_mut(at) {
            Some(place) => *place = entry,
            None => places.push(entry),
        }
        Some(ListenerIndex(u16::try_from(at).unwrap_or(u16::MAX)))
    }

    /// Notes that a listener takes no sessions any more; it keeps its place until they have gone.
    pub fn remove(&self, listener: ListenerIndex) {
        self.change(listener, State::Goes);
    }

    /// Gives up the place of a listener of which nothing is left.
    pub fn forget(&self, listener: ListenerIndex) {
        self.change(listener, State::Gone);
    }

    fn change(&self, listener: ListenerIndex, state: State) {
        if let Some(place) = self.write().get_mut(usize::from(listener.0)) {
            place.state = state;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Entry>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Entry>> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ListenerName {
        ListenerName(Arc::from(name))
    }

    #[test]
    fn a_listener_keeps_its_place_until_nothing_is_left_of_it() {
        let roster = Roster::new(["chat", "raw"].map(named));
        let raw = roster.find("raw").unwrap();
        assert_eq!(raw, ListenerIndex(1));
        roster.remove(raw);
        assert_eq!((roster.find("raw"), roster.name(raw)), (None, "raw".into()));
        assert_eq!(roster.all().len(), 2, "its sessions are still shown");
        assert_eq!(roster.add(&named("new")), Some(ListenerIndex(2)));
        assert_eq!(roster.add(&named("raw")), Some(raw), "it is back");
        roster.remove(raw);
        roster.forget(raw);
        assert_eq!(roster.all().len(), 2);
        let later = roster.name(raw);
        assert_eq!(later, "raw", "for a line that is still to be written");
        assert_eq!(roster.add(&named("next")), Some(raw), "the place is free");
    }

    #[test]
    fn there_is_an_end_to_places() {
        let roster = Roster::new([]);
        for i in 0..roster.capacity() {
            assert!(roster.add(&named(&i.to_string())).is_some());
        }
        assert_eq!(roster.add(&named("more")), None);
        assert!(roster.add(&named("0")).is_some(), "one that is there");
    }
}
