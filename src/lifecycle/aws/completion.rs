//! The group is kept waiting with heartbeats during a drain, and told to go on when it is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::actions::Action;
use super::autoscaling::{self, Named};
use super::cloud::Cloud;
use super::fault::Fault;
use super::known::Known;
use crate::drain::Report;
use crate::lifecycle::backoff::Backoff;
use crate::lifecycle::desk::Desk;
use crate::lifecycle::platform::{Completion, Doing};
use crate::session::DrainView;

/// The shortest timeout that a hook may have (API PutLifecycleHook): what is reckoned with while
/// nothing is known.
const SHORTEST: Duration = Duration::from_secs(30);
/// A heartbeat that failed is repeated as soon as this.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two tries to complete.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// How long an ending process may look once more whether its group is getting rid of it.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// The lifecycle hooks.
pub(super) struct Hooks(pub(super) Arc<Cloud>);

impl Completion for Hooks {
    fn keep_waiting<'a>(&'a self, _: &'a Desk, _: DrainView) -> Doing<'a> {
        Box::pin(self.beat())
    }

    fn complete<'a>(&'a self, desk: &'a Desk, _: Arc<Report>) -> Doing<'a> {
        Box::pin(self.go_on(desk))
    }
}

impl Hooks {
    /// Sends heartbeats for each action that the group waits for: the first at once, since it may
    /// have been waiting for a while, the others whenever half of the hook's timeout is over.
    async fn beat(&self) {
        let mut known = self.0.known();
        let mut due: HashMap<usize, Instant> = HashMap::new();
        loop {
            let now = Instant::now();
            let beats = beats(&known.borrow_and_update(), now);
            for Beat { action, every, .. } in &beats {
                let due = due.entry(action.id).or_insert(now);
                if *due > now {
                    continue;
                }
                let wait = match self.call(action, Kind::Heartbeat).await {
                    Ok(()) => *every,
                    Err(fault) if fault.is_over() => {
                        self.over(action);
                        continue;
                    }
                    Err(_) => AGAIN.min(*every),
                };
                *due = now + wait;
            }
            let next = beats
                .iter()
                .filter_map(|beat| due.get(&beat.action.id))
                .min()
                .copied();
            tokio::select! {
                () = async { sleep_until(next.unwrap_or(now)).await }, if next.is_some() => {}
                changed = known.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Completes every action that the group waits for, or will wait for: it speaks to its hooks
    /// only when its balancer is through with the instance, which may be long after the drain.
    async fn go_on(&self, desk: &Desk) {
        let mut known = self.0.known();
        loop {
            let open: Vec<_> = known.borrow_and_update().actions.open().cloned().collect();
            for action in &open {
                self.finish(action).await;
            }
            if !open.is_empty() {
                continue;
            }
            if desk.is_ending() && !self.is_expected().await {
                return;
            }
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                () = desk.ending(), if !desk.is_ending() => {}
            }
        }
    }

    /// Whether a hook is still to come. An ending process waits for one only if its group is getting
    /// rid of it.
    async fn is_expected(&self) -> bool {
        let cloud = &self.0;
        let expects = |known: &Known| known.expects_hooks() && known.is_before_hooks();
        let waits = || cloud.known().borrow().actions.open().next().is_some();
        if expects(&cloud.known().borrow()) || waits() {
            return true;
        }
        if !cloud.known().borrow().expects_hooks() {
            return false;
        }
        // It may have changed since the last look.
        let looked = timeout(LAST_LOOK, cloud.look()).await;
        matches!(looked, Ok(Ok(true))) && (expects(&cloud.known().borrow()) || waits())
    }

    /// Completes one action, however often that has to be tried.
    async fn finish(&self, action: &Action) {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        loop {
            match self.call(action, Kind::Completion).await {
                Ok(()) => {
                    tracing::info!(hook = action.hook, "the group has been told to go on");
                    return self.over(action);
                }
                Err(fault) if fault.is_over() => return self.over(action),
                Err(_) => sleep(backoff.next()).await,
            }
        }
    }

    async fn call(&self, action: &Action, kind: Kind) -> Result<(), Fault> {
        let api = &self.0.api;
        let unknown = || Fault::Unclear("the instance's id");
        let named = Named {
            group: &action.group,
            hook: &action.hook,
            instance: self.0.instance().await.ok_or_else(unknown)?,
            token: action.token.as_deref(),
        };
        match kind {
            Kind::Heartbeat => autoscaling::heartbeat(api, named).await,
            Kind::Completion => autoscaling::complete(api, named).await,
        }
    }

    fn over(&self, action: &Action) {
        self.0.note(|known| known.actions.done(action.id));
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Heartbeat,
    Completion,
}

/// An action that wants heartbeats, and how often.
struct Beat {
    action: Action,
    every: Duration,
}

/// The actions that want heartbeats. Past the global timeout of its hook none helps.
fn beats(known: &Known, now: Instant) -> Vec<Beat> {
    let beat = |action: &Action| {
        let hook = known.hook_of(action);
        let timeout = hook.map_or(SHORTEST, |hook| hook.heartbeat);
        let is_late = hook.is_some_and(|hook| now >= action.since + hook.global);
        (!is_late).then(|| Beat {
            action: action.clone(),
            every: timeout / 2,
        })
    };
    known.actions.open().filter_map(beat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::aws::autoscaling::Hook;

    #[test]
    fn heartbeats_come_at_half_the_timeout_until_the_global_one() {
        let now = Instant::now();
        let mut known = Known::new(None, &[]);
        known.actions.waits("drain", "bots", now);
        let every = |known: &Known, after| {
            let beats = beats(known, now + Duration::from_secs(after));
            beats.first().map(|beat| beat.every.as_secs())
        };
        assert_eq!(every(&known, 0), Some(15), "nothing is known of the hook");
        let hook = Hook {
            name: "drain".to_owned(),
            heartbeat: Duration::from_secs(600),
            global: Duration::from_secs(900),
        };
        known.has_hooks(vec![hook], now);
        assert_eq!(every(&known, 899), Some(300));
        assert_eq!(every(&known, 900), None);
        known.actions.done(0);
        assert_eq!(every(&known, 0), None);
    }
}
