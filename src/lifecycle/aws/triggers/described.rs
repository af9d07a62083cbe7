//! The signs that the API shows: the instance's state in its group, and its targets' health.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::lifecycle::aws::balancing::{self, Health};
use crate::lifecycle::aws::cloud::Cloud;
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::aws::known::Known;
use crate::lifecycle::aws::state::State;
use crate::lifecycle::backoff::{Backoff, jittered};
use crate::lifecycle::desk::{Desk, Leaving};
use crate::lifecycle::platform::{Doing, Trigger};
use crate::session::{Phase, PhaseView};

/// The longest wait while calls fail.
const LONGEST: Duration = Duration::from_secs(300);
/// How often is looked for a hook that keeps everybody waiting although the drain is over.
const SOON: Duration = Duration::from_secs(2);

/// Looks at the instance and its targets.
pub(in crate::lifecycle::aws) struct Described(pub(in crate::lifecycle::aws) Arc<Cloud>);

impl Trigger for Described {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        let seen = Seen {
            states: vec![Standing::default(); self.0.settings.target_groups.len()],
            cloud: self.0,
            desk,
            leaves: false,
            away: false,
        };
        Box::pin(seen.watch())
    }
}

/// What was seen before, so that each sign is told once.
struct Seen {
    cloud: Arc<Cloud>,
    desk: Desk,
    leaves: bool,
    away: bool,
    states: Vec<Standing>,
}

/// How one target group was last seen.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Nothing if it could not be asked.
    health: Option<Health>,
    /// Whether the target was ever in it.
    was_in: bool,
}

impl Seen {
    async fn watch(mut self) {
        let usual = self.cloud.settings.describe_poll;
        let mut backoff = Backoff::new(usual, LONGEST.max(usual));
        let mut phase = self.desk.phase();
        loop {
            phase.mark_unchanged();
            let wait = match self.look().await {
                Ok(()) => {
                    backoff.reset();
                    self.pace(&phase.borrow())
                }
                Err(fault) => {
                    self.explain(&fault);
                    backoff.next()
                }
            };
            // A drain that begins may wait for a hook soon, and one that is over wants to at once.
            tokio::select! {
                () = sleep(wait) => {}
                Ok(()) = phase.changed() => {}
            }
        }
    }

    /// How long until the next look: a hook's first heartbeat must not come too late, and the
    /// completion should come at once.
    fn pace(&self, phase: &PhaseView) -> Duration {
        let usual = self.cloud.settings.describe_poll;
        let known = self.cloud.known();
        let known = known.borrow();
        let waits = known.actions.open().next().is_some();
        if phase.drain.is_none() || waits || !known.expects_hooks() {
            return jittered(usual);
        }
        if phase.phase == Phase::Drained && known.is_before_hooks() {
            return jittered(usual.min(SOON));
        }
        let shortest = shortest_heartbeat(&known).map(|heartbeat| (heartbeat / 3).max(SOON));
        jittered(shortest.map_or(usual, |shortest| usual.min(shortest)))
    }

    async fn look(&mut self) -> Result<(), Fault> {
        let group = self.cloud.look().await;
        self.state();
        // Permissions may be there for one kind of call and not for the other.
        let targets = self.targets().await;
        self.targets_seen();
        group.and(targets)
    }

    fn state(&mut self) {
        let state = self.cloud.known().borrow().state.clone();
        let leaves = state.as_ref().is_some_and(State::is_leaving);
        let is_news = leaves && !self.leaves;
        self.leaves = leaves;
        if let Some(state) = state.filter(|_| is_news) {
            self.desk.leaving(Leaving {
                sign: format!("lifecycle state {state}"),
                left: None,
                looks_away: false,
            });
        }
    }

    async fn targets(&mut self) -> Result<(), Fault> {
        if self.states.is_empty() {
            return Ok(());
        }
        let Some(target) = self.cloud.target().await else {
            return Ok(());
        };
        let mut went = Ok(());
        for (group, standing) in self
            .cloud
            .settings
            .target_groups
            .iter()
            .zip(&mut self.states)
        {
            let seen = balancing::health(&self.cloud.api, group, &target).await;
            standing.health = match seen {
                Ok(health) => {
                    standing.was_in |= !health.is_absent;
                    Some(health)
                }
                Err(fault) => {
                    went = Err(fault);
                    None
                }
            };
        }
        went
    }

    fn targets_seen(&mut self) {
        let groups = &self.cloud.settings.target_groups;
        let each = groups.iter().zip(&self.states);
        let seen = each.filter_map(|(group, standing)| {
            let health = standing.health.as_ref()?;
            Some(format!("{} {}", group.name(), health.state))
        });
        let seen: Vec<_> = seen.collect();
        if !seen.is_empty() {
            self.desk.know("target_health", seen.join(", "));
        }
        let away = all_look_away(&self.states);
        if away && !self.away {
            self.desk.leaving(Leaving {
                sign: format!("target health: {}", seen.join(", ")),
                left: None,
                looks_away: true,
            });
        }
        self.away = away;
    }

    /// What is neither counted as a call nor can be helped by waiting.
    fn explain(&self, fault: &Fault) {
        if matches!(fault, Fault::NoCredentials(_) | Fault::NoRegion)
            && self.desk.know("api", fault.to_string())
        {
            tracing::warn!(%fault, "the API of AWS cannot be asked");
        }
    }
}

fn shortest_heartbeat(known: &Known) -> Option<Duration> {
    let hooks = known.hooks.iter().flatten();
    hooks.map(|hook| hook.heartbeat).min()
}

/// Whether no group that could be asked sends anything new, one of which did before. In one group
/// only, a target may be on its way from that one to another.
fn all_look_away(states: &[Standing]) -> bool {
    let known = || {
        states
            .iter()
            .filter_map(|standing| Some((standing.health.as_ref()?, standing.was_in)))
    };
    let leaves = |(health, was_in): (&Health, bool)| !health.is_absent || was_in;
    known().all(|(health, _)| health.looks_away()) && known().any(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(state: &str, is_absent: bool, was_in: bool) -> Standing {
        let state = state.to_owned();
        Standing {
            health: Some(Health { state, is_absent }),
            was_in,
        }
    }

    #[test]
    fn a_target_leaves_when_every_group_lets_it_go() {
        let healthy = standing("healthy", false, true);
        let draining = standing("draining", false, true);
        let gone = standing("unused", true, true);
        let never = standing("unused", true, false);
        let unknown = Standing::default();
        for (states, leaves) in [
            (vec![], false),
            (vec![&unknown], false),
            (vec![&healthy], false),
            (vec![&draining], true),
            (vec![&gone], true),
            (vec![&never], false),
            (vec![&draining, &healthy], false),
            (vec![&draining, &gone], true),
            (vec![&draining, &never], true),
            (vec![&draining, &unknown], true),
        ] {
            let states: Vec<_> = states.into_iter().cloned().collect();
            assert_eq!(all_look_away(&states), leaves, "{states:?}");
        }
    }
}
