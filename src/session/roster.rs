//! Which listeners there are: each has a place, by which everything counts it.

use std::sync::{Arc, PoisonError, RwLock};

use super::ListenerIndex;
use crate::config::ListenerName;

/// How many listeners may come while the process lives and others are not gone yet.
const SPARE: usize = 64;

/// Who has a place.
#[derive(Clone, Debug)]
struct Entry {
    name: ListenerName,
    /// Whether it still takes sessions.
    serves: bool,
}

/// The listeners' places. A listener that comes back while its sessions go has its place again.
#[derive(Clone, Debug)]
pub struct Roster {
    places: Arc<RwLock<Vec<Option<Entry>>>>,
    capacity: usize,
}

impl Roster {
    /// A place for each of these, in their order, and some to spare.
    pub fn new(names: impl IntoIterator<Item = ListenerName>) -> Roster {
        let serving = |name| Some(Entry { name, serves: true });
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
        self.list(|entry| entry.serves)
    }

    /// Those that take sessions, and those whose sessions are going.
    pub fn all(&self) -> Vec<(ListenerIndex, ListenerName)> {
        self.list(|_| true)
    }

    fn list(&self, which: impl Fn(&Entry) -> bool) -> Vec<(ListenerIndex, ListenerName)> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let indexed = (0..).map(ListenerIndex).zip(places.iter());
        let taken = indexed.filter_map(|(index, entry)| Some((index, entry.as_ref()?)));
        let meant = taken.filter(|(_, entry)| which(entry));
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

    /// What is shown of a place: its listener's name.
    pub fn name(&self, listener: ListenerIndex) -> String {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let entry = places.get(usize::from(listener.0)).and_then(Option::as_ref);
        entry
            .map(|entry| entry.name.to_string())
            .unwrap_or_default()
    }

    /// Whether each of these can have a place.
    pub fn has_room_for(&self, names: &[&ListenerName]) -> bool {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let is_there =
            |name: &ListenerName| places.iter().flatten().any(|entry| entry.name == *name);
        let new = names.iter().filter(|name| !is_there(name));
        places.iter().flatten().count() + new.count() <= self.capacity
    }

    /// Gives a listener a place: its own, if its sessions have not gone yet. None if there is none
    /// left.
    pub fn add(&self, name: &ListenerName) -> Option<ListenerIndex> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let own = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.name == *name);
        let at = places.iter().position(own);
        let at = at.or_else(|| places.iter().position(Option::is_none));
        let at = at.unwrap_or(places.len());
        if at == self.capacity {
            return None;
        }
        let entry = Some(Entry {
            name: name.clone(),
            serves: true,
        });
        match places.get_mut(at) {
            Some(place) => *place = entry,
            None => places.push(entry),
        }
        Some(ListenerIndex(u16::try_from(at).unwrap_or(u16::MAX)))
    }

    /// Notes that a listener takes no sessions any more; it keeps its place until they have gone.
    pub fn remove(&self, listener: ListenerIndex) {
        self.change(listener, |place| {
            place.iter_mut().for_each(|entry| entry.serves = false);
        });
    }

    /// Gives up the place of a listener of which nothing is left.
    pub fn forget(&self, listener: ListenerIndex) {
        self.change(listener, |place| *place = None);
    }

    fn change(&self, listener: ListenerIndex, how: impl FnOnce(&mut Option<Entry>)) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(usize::from(listener.0)) {
            how(place);
        }
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
