//! The agent's hooks: it is called as a drain goes, and may ask for time.
//!
//! The drain tells of a phase from its own thread, where the hold for the call is taken before it
//! looks for holds again; the calls are made on the health thread, each on a connection of its
//! own, so that an agent that does not answer one delays no other.

mod answer;
mod call;
mod lease;
mod on_close;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::admin::control::Control;
use crate::config::{self, HookUrl};
use crate::drain::Witness;
use crate::net::Tasks;
use crate::session::{Facts, Holds, Phase, PhaseView};

use lease::Lease;

/// So much longer than its limit a call may take to end.
const SLACK: Duration = Duration::from_millis(100);

/// A phase that has begun.
struct Begun {
    view: PhaseView,
    /// Kept while the agent is asked; none where nobody is, and at the end, which nothing holds up.
    lease: Option<Lease>,
}

/// The hooks, before they are at work.
pub struct Hooks {
    settings: config::Hooks,
    begun: mpsc::UnboundedReceiver<Begun>,
    asked: Option<mpsc::UnboundedReceiver<Vec<Facts>>>,
    /// Dropped with the last call.
    _calling: oneshot::Sender<Infallible>,
}

/// The calls that are still to be made or answered.
pub struct Calls(oneshot::Receiver<Infallible>);

impl Calls {
    /// Waits until there are none, once the drain has gone: not for long, and not past its window.
    pub async fn over(self) {
        let Err(_) = self.0.await;
    }
}

/// What hears the drain, and what calls the agent; nothing of both if no hook is configured.
pub fn channel(settings: &config::Hooks, holds: &Holds) -> (Witness, Option<Hooks>, Calls) {
    let (calling, over) = oneshot::channel();
    let urls = [
        &settings.lame_duck,
        &settings.closing,
        &settings.drained,
        &settings.on_close,
    ];
    if urls.iter().all(|url| url.is_none()) {
        return (Witness::default(), None, Calls(over));
    }
    let (tell, begun) = mpsc::unbounded_channel();
    let (tell_asked, asked) = match settings.on_close {
        Some(_) => {
            let (tell, asked) = mpsc::unbounded_channel();
            (Some(tell), Some(asked))
        }
        None => (None, None),
    };
    let hooks = Hooks {
        settings: settings.clone(),
        begun,
        asked,
        _calling: calling,
    };
    let (settings, holds) = (settings.clone(), holds.clone());
    let witness = Witness {
        entered: Some(Box::new(move |view| {
            let asks = url(&settings, view.phase).is_some() && view.phase != Phase::Drained;
            let lease = asks.then(|| Lease::take(&holds, view.phase, settings.timeout));
            // Whoever has gone makes no more calls.
            let _ = tell.send(Begun {
                view: view.clone(),
                lease,
            });
        })),
        asked: tell_asked,
        over: None,
    };
    (witness, Some(hooks), Calls(over))
}

/// Who is called when a phase begins.
fn url(settings: &config::Hooks, phase: Phase) -> Option<&HookUrl> {
    match phase {
        Phase::LameDuck => settings.lame_duck.as_ref(),
        Phase::Closing => settings.closing.as_ref(),
        Phase::Drained => settings.drained.as_ref(),
        Phase::Starting | Phase::Serving | Phase::Draining => None,
    }
}

impl Hooks {
    /// Calls until the drain has gone with its process, and the last calls are over.
    pub async fn run(mut self, control: Control) {
        let calls = Tasks::new();
        let limit = self.settings.timeout;
        if let (Some(url), Some(asked)) = (self.settings.on_close.clone(), self.asked.take()) {
            let roster = control.roster.clone();
            let post = move |url, body| async move { call::post(&url, body, limit).await };
            calls.spawn(on_close::run(asked, roster, url, post));
        }
        let mut window_ends = None;
        while let Some(Begun { view, lease }) = self.begun.recv().await {
            window_ends = view.drain.as_ref().map(|drain| drain.ends);
            if let Some(url) = url(&self.settings, view.phase) {
                calls.spawn(tell(url.clone(), limit, view, lease, control.clone()));
            }
        }
        let now = Instant::now();
        let left = window_ends.map_or(limit, |ends| ends.saturating_duration_since(now));
        // At its own limit a call ends by itself, and is told of.
        if timeout(left.min(limit + SLACK), calls.all_gone())
            .await
            .is_err()
        {
            tracing::warn!(
                calls = calls.len(),
                "the process ends before hooks are answered"
            );
        }
    }
}

/// Tells the agent of a phase, and takes the hold that it may want.
async fn tell(
    url: HookUrl,
    limit: Duration,
    view: PhaseView,
    lease: Option<Lease>,
    control: Control,
) {
    let hook = view.phase.label();
    let status = serde_json::to_vec(&control.status_in(&view)).unwrap_or_default();
    let answer = call::post(&url, Bytes::from(status), limit).await;
    let wanted = match answer.map(|body| answer::wanted(&body)) {
        Ok(Ok(wanted)) => wanted,
        Ok(Err(wrong)) => {
            tracing::warn!(hook, %url, error = %wrong, "hook answered what is not understood");
            None
        }
        Err(error) => {
            tracing::warn!(hook, %url, %error, "hook failed");
            None
        }
    };
    let now = Instant::now();
    // A drain that is over, or was cancelled, is not held up any more.
    let lease = match lease {
        Some(lease) if is_under_way(&view, &control.phase.borrow()) => Some(lease),
        Some(lease) => {
            lease.give_back(now);
            None
        }
        None => None,
    };
    match (lease, wanted) {
        (Some(lease), Some(ttl)) => match lease.prolong(now, ttl) {
            Ok(hold) => tracing::info!(hook, hold.id = %hold.id, ?ttl, "hold taken"),
            Err(error) => {
                tracing::warn!(hook, %url, %error, "hook answered what is not understood");
            }
        },
        (Some(lease), None) => lease.give_back(now),
        (None, Some(_)) => {
            tracing::warn!(hook, %url, "hook asks for a hold when there is nothing to hold up");
        }
        (None, None) => {}
    }
}

/// Whether the drain that `view` is of is still under way.
fn is_under_way(view: &PhaseView, now: &PhaseView) -> bool {
    let started = |view: &PhaseView| view.drain.as_ref().map(|drain| drain.started);
    now.phase != Phase::Drained && now.drain.is_some() && started(view) == started(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;
    use crate::session::{Deadline, DrainView};

    fn view(phase: Phase) -> PhaseView {
        PhaseView {
            phase,
            ..PhaseView::starting()
        }
    }

    fn closing() -> config::Hooks {
        config::Hooks {
            closing: Some(HookUrl {
                authority: Endpoint("127.0.0.1:1".into()),
                path: "/".into(),
            }),
            timeout: Duration::from_secs(1),
            ..config::Hooks::default()
        }
    }

    #[tokio::test]
    async fn without_a_hook_nobody_listens_and_nothing_is_waited_for() {
        let (witness, hooks, calls) = channel(&config::Hooks::default(), &Holds::new());
        assert!(witness.entered.is_none() && witness.asked.is_none());
        assert!(hooks.is_none());
        calls.over().await;
    }

    #[test]
    fn a_call_is_held_for_from_the_moment_its_phase_begins() {
        let holds = Holds::new();
        let (witness, hooks, _calls) = channel(&closing(), &holds);
        let entered = witness.entered.unwrap();
        let mut hooks = hooks.unwrap();
        for (phase, held) in [
            (Phase::LameDuck, 0),
            (Phase::Draining, 0),
            (Phase::Closing, 1),
            (Phase::Drained, 1),
        ] {
            entered(&view(phase));
            assert_eq!(holds.live(Instant::now()), held, "{phase}");
            let begun = hooks.begun.try_recv().unwrap();
            assert_eq!(begun.view.phase, phase);
            assert_eq!(begun.lease.is_some(), phase == Phase::Closing);
        }
    }

    #[test]
    fn a_drain_that_is_over_or_cancelled_or_another_one_is_not_under_way() {
        let drain = |phase| {
            let started = Instant::now();
            let length = Duration::from_secs(10);
            PhaseView {
                drain: Some(DrainView {
                    trigger: "api",
                    reason: None,
                    started,
                    window: length,
                    deadline: Deadline::after(started, length),
                    ends: started + length,
                    looks_away: false,
                    ends_the_process: false,
                }),
                ..view(phase)
            }
        };
        let mine = drain(Phase::LameDuck);
        let mut later = mine.clone();
        later.phase = Phase::Closing;
        assert!(is_under_way(&mine, &later));
        later.phase = Phase::Drained;
        assert!(!is_under_way(&mine, &later));
        assert!(!is_under_way(&mine, &view(Phase::Serving)));
        assert!(!is_under_way(&mine, &drain(Phase::Closing)));
    }
}
