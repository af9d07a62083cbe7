//! What the pump watches: its sessions, and its guests.

use std::ops::{Index, IndexMut};
use std::task::Waker;

use slab::Slab;

use crate::relay::relayed::Relayed;
use crate::session::{Facts, Page};

/// By slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slab: Slab<Slot>,
    sessions: usize,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are sessions")]
enum Slot {
    Session(Relayed),
    Guest(News),
}

/// What the kernel has said of a guest.
#[derive(Debug, Default)]
pub(super) struct News {
    /// There may be something to read.
    pub(super) readable: bool,
    /// Whatever a read finds, the next one tells more.
    pub(super) hung_up: bool,
    /// Who waits for it.
    pub(super) waker: Option<Waker>,
}

impl News {
    /// Whether a read would find something, or the end.
    pub(super) fn is_any(&self) -> bool {
        self.readable || self.hung_up
    }
}

impl Slots {
    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Keeps a slot for a guest.
    pub(super) fn keep(&mut self) -> usize {
        self.slab.insert(Slot::Guest(News::default()))
    }

    /// What was heard of a guest.
    pub(super) fn news(&mut self, slot: usize) -> Option<&mut News> {
        match self.slab.get_mut(slot) {
            Some(Slot::Guest(news)) => Some(news),
            _ => None,
        }
    }

    /// Puts a session into the slot of a guest.
    pub(super) fn begin(&mut self, slot: usize, session: Relayed) {
        self.slab[slot] = Slot::Session(session);
        self.sessions += 1;
    }

    /// Gives the slot of a guest up.
    pub(super) fn give_up(&mut self, slot: usize) {
        if self.news(slot).is_some() {
            self.slab.remove(slot);
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Relayed> {
        match self.slab.get(slot) {
            Some(Slot::Session(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Relayed> {
        match self.slab.get_mut(slot) {
            Some(Slot::Session(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Relayed)> {
        self.slab.iter().filter_map(|(slot, held)| match held {
            Slot::Session(session) => Some((slot, session)),
            Slot::Guest(_) => None,
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Relayed)> {
        self.slab.iter_mut().filter_map(|(slot, held)| match held {
            Slot::Session(session) => Some((slot, session)),
            Slot::Guest(_) => None,
        })
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Relayed> {
        self.get(slot)?;
        match self.slab.remove(slot) {
            Slot::Session(session) => {
                self.sessions -= 1;
                Some(session)
            }
            Slot::Guest(_) => None,
        }
    }

    /// The facts of at most `limit` sessions, from a slot on.
    pub(super) fn page(
        &self,
        from: usize,
        limit: usize,
        facts: impl Fn(usize, &Relayed) -> Facts,
    ) -> Page {
        Page::of(&self.slab, from, limit, |slot, held| match held {
            Slot::Session(session) => Some(facts(slot, session)),
            Slot::Guest(_) => None,
        })
    }
}

impl Index<usize> for Slots {
    type Output = Relayed;

    fn index(&self, slot: usize) -> &Relayed {
        self.get(slot).expect("a session")
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, slot: usize) -> &mut Relayed {
        self.get_mut(slot).expect("a session")
    }
}
