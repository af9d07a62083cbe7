//! Endpoints whose sessions go wrong are passed over for a while.

use std::sync::atomic::Ordering;

use crate::net::Tick;

use super::Endpoints;
use super::member::Member;

impl Endpoints {
    /// Whether an agent's answer that it is overloaded or broken is a failure.
    pub fn counts_gateway_errors(&self) -> bool {
        let eject = self.settings.eject.as_ref();
        eject.is_some_and(|eject| eject.gateway_errors)
    }

    /// Notes that a session on an endpoint went well as far as it has come.
    pub fn went_well(&self, member: &Member) {
        // Read first: a cache line that nobody writes is shared by all workers.
        if member.failures.load(Ordering::Relaxed) != 0 {
            member.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that an endpoint was not reached, or broke off before it answered. After so many in a
    /// row it is passed over, unless too many are already.
    pub fn went_wrong(&self, member: &Member) {
        let Some(eject) = &self.settings.eject else {
            return;
        };
        let failures = member.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < eject.after {
            return;
        }
        // Held, so that two workers do not pass over two where one is the most.
        let members = self.lock();
        if member.is_ejected() {
            return;
        }
        member.failures.store(0, Ordering::Relaxed);
        let ejected = members.list.iter().filter(|other| other.is_ejected());
        let with_it = ejected.count() + 1;
        if with_it as f64 > members.list.len() as f64 * eject.max_share {
            return;
        }
        let now = Tick::now().as_millis();
        let until = member.ejected_until.load(Ordering::Relaxed);
        let before = member.ejected_for.load(Ordering::Relaxed);
        let base = u64::try_from(eject.base.as_millis()).unwrap_or(u64::MAX);
        let longest = u64::try_from(eject.longest.as_millis()).unwrap_or(u64::MAX);
        // Soon: before as much time has passed as it was out for.
        let is_soon = before != 0 && now.saturating_sub(until) < before;
        let length = if is_soon { before * 2 } else { base }.min(longest);
        member.ejected_for.store(length, Ordering::Relaxed);
        member.ejected_until.store(now + length, Ordering::Relaxed);
        member.ejections.fetch_add(1, Ordering::Relaxed);
        member.begin_slowly();
        tracing::warn!(
            upstream = %self.name(), endpoint = %member.label(), failures, millis = length,
            "endpoint is passed over"
        );
    }
}
