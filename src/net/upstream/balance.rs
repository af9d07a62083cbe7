//! Which endpoint a new session goes to.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Balance;
use crate::session::EndpointId;

use super::hash::{Key, mixed};
use super::member::Member;

/// What a worker keeps to choose by.
#[derive(Debug)]
pub(super) struct Chooser {
    turn: Cell<usize>,
    random: Cell<u64>,
}

impl Chooser {
    pub(super) fn new() -> Chooser {
        Chooser {
            turn: Cell::new(0),
            random: Cell::new(RandomState::new().hash_one(0)),
        }
    }

    /// The endpoint for a session, of those that were not tried: the healthy first, then what is
    /// known to be down or is passed over. None that takes no sessions.
    pub(super) fn choose<'m>(
        &self,
        how: &Balance,
        slow_start: Duration,
        members: &'m [Arc<Member>],
        key: Key,
        tried: &[EndpointId],
    ) -> Option<&'m Arc<Member>> {
        if let ([only], []) = (members, tried) {
            return only.takes_sessions().then_some(only);
        }
        let may = |member: &&Arc<Member>| member.takes_sessions() && !tried.contains(&member.id());
        let is_good = |member: &&Arc<Member>| member.is_well() && !member.is_ejected();
        let good = |member: &&Arc<Member>| may(member) && is_good(member);
        let rest = |member: &&Arc<Member>| may(member) && !is_good(member);
        let chosen = self.among(how, slow_start, members, key, &good);
        chosen.or_else(|| self.among(how, slow_start, members, key, &rest))
    }

    fn among<'m>(
        &self,
        how: &Balance,
        slow_start: Duration,
        members: &'m [Arc<Member>],
        key: Key,
        may: &dyn Fn(&&Arc<Member>) -> bool,
    ) -> Option<&'m Arc<Member>> {
        let all = || members.iter().filter(may);
        match (how, key) {
            (Balance::Hash(_), Some(key)) => all().max_by_key(|member| mixed(key ^ member.hash)),
            (Balance::Least | Balance::Hash(_), _) => self.least(all(), slow_start),
            (Balance::RandomTwo, _) => {
                let count = all().count();
                let one = all().nth(self.below(count)?)?;
                let others = all().filter(|other| other.id() != one.id());
                let other = self.below(count - 1).and_then(|at| others.clone().nth(at));
                self.least([one].into_iter().chain(other), slow_start)
            }
            (Balance::RoundRobin, _) => self.next(members, may, slow_start),
        }
    }

    /// The one with the fewest sessions for its share; at random, where several have.
    fn least<'m>(
        &self,
        all: impl Iterator<Item = &'m Arc<Member>>,
        slow_start: Duration,
    ) -> Option<&'m Arc<Member>> {
        let mut best: Option<(f64, &Arc<Member>)> = None;
        let mut equals = 1;
        for member in all {
            let load = (member.sessions() as f64 + 1.0) / member.weight(slow_start);
            match best {
                Some((least, _)) if load > least => {}
                Some((least, _)) if load == least => {
                    equals += 1;
                    if self.below(equals) == Some(0) {
                        best = Some((load, member));
                    }
                }
                _ => {
                    equals = 1;
                    best = Some((load, member));
                }
            }
        }
        best.map(|(_, member)| member)
    }

    /// The next in turn. One whose share still grows is passed over as often as that says.
    fn next<'m>(
        &self,
        members: &'m [Arc<Member>],
        may: &dyn Fn(&&Arc<Member>) -> bool,
        slow_start: Duration,
    ) -> Option<&'m Arc<Member>> {
        let start = self.turn.get();
        let mut passed_over = None;
        for step in 0..members.len() {
            let at = start.wrapping_add(step);
            let member = &members[at % members.len()];
            if !may(&member) {
                continue;
            }
            self.turn.set(at.wrapping_add(1));
            let weight = member.weight(slow_start);
            if weight >= 1.0 || self.fraction() < weight {
                return Some(member);
            }
            passed_over.get_or_insert(member);
        }
        passed_over
    }

    /// A random number below another; none below zero.
    fn below(&self, bound: usize) -> Option<usize> {
        (self.next_random() % u64::try_from(bound).ok()?.max(1))
            .try_into()
            .ok()
            .filter(|_| bound > 0)
    }

    fn fraction(&self) -> f64 {
        (self.next_random() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next_random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        mixed(state)
    }
}
