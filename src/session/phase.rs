//! The phase of the process, and the read side of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{EndpointId, ListenerIndex};

/// The way from serving to gone (DESIGN.md, "The drain").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Not able to serve yet.
    Starting,
    /// All is well.
    Serving,
    /// Still takes new sessions, and says to the balancer that it should send no more.
    LameDuck,
    /// Takes no new sessions; what is open may finish.
    Draining,
    /// What is open is asked to go, one by one.
    Closing,
    /// Everything has ended, or the deadline came.
    Drained,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: &'static [Phase] = &[
        Phase::Starting,
        Phase::Serving,
        Phase::LameDuck,
        Phase::Draining,
        Phase::Closing,
        Phase::Drained,
    ];

    /// The name that metrics, logs and the API use.
    pub fn label(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::LameDuck => "lame_duck",
            Phase::Draining => "draining",
            Phase::Closing => "closing",
            Phase::Drained => "drained",
        }
    }

    /// Whether responses tell the client not to use its connection again.
    pub fn says_close(self) -> bool {
        self >= Phase::LameDuck
    }

    /// Whether new sessions are refused, where late arrivals are.
    pub fn refuses(self) -> bool {
        self >= Phase::Draining
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The moment by which a drain is over: made once at the trigger, it can only move earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `length` after `start`.
    pub fn after(start: Instant, length: Duration) -> Deadline {
        Deadline(start + length)
    }

    /// The earlier of the two.
    #[must_use]
    pub fn sooner(self, other: Deadline) -> Deadline {
        self.min(other)
    }

    /// The moment itself.
    pub fn at(self) -> Instant {
        self.0
    }

    /// How long it is from `now`; zero when it has passed.
    pub fn left(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}

/// What every room may know of the phase. Written by the drain alone.
#[derive(Clone, Debug)]
pub struct PhaseView {
    /// The current phase.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// The drain, from its start until it is cancelled; a drained process still shows it.
    pub drain: Option<DrainView>,
    /// Parts that are drained, or being drained, while the rest serves.
    pub parts: Vec<PartView>,
}

/// A part of the process that can be drained while the rest serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// A listener, with all its sessions.
    Listener(ListenerIndex),
    /// A listener that the configuration names no more, with all its sessions.
    Removed(ListenerIndex),
    /// An endpoint, with all sessions on it. Nothing is refused meanwhile, as long as there are
    /// others.
    Endpoint(EndpointId),
    /// So many of the open sessions, from 0.0 to 1.0. Nothing is refused meanwhile.
    Share(f64),
}

impl Part {
    /// Whether everything on this listener goes.
    pub fn is_all_of(self, listener: ListenerIndex) -> bool {
        self == Part::Listener(listener) || self == Part::Removed(listener)
    }
}

/// What every room may know of the drain of a part.
#[derive(Clone, Debug)]
pub struct PartView {
    /// Which part.
    pub part: Part,
    /// What it is called in the log, the report and the status.
    pub name: Arc<str>,
    /// Its phase.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// Its drain; a drained listener still shows it.
    pub drain: DrainView,
}

/// What every room may know of a drain.
#[derive(Clone, Debug)]
pub struct DrainView {
    /// What started it.
    pub trigger: &'static str,
    /// Why, in words.
    pub reason: Option<Arc<str>>,
    /// When it began.
    pub started: Instant,
    /// The window it was given.
    pub window: Duration,
    /// When it is over at the latest: the window less the margin, or earlier.
    pub deadline: Deadline,
    /// The end of the window; from the deadline to here is time for the report and the platform.
    pub ends: Instant,
    /// Whether the balancer is known to look away already.
    pub looks_away: bool,
    /// Whether the process ends with it.
    pub ends_the_process: bool,
}

impl PhaseView {
    /// The view before anything serves.
    pub fn starting() -> PhaseView {
        PhaseView {
            phase: Phase::Starting,
            since: Instant::now(),
            drain: None,
            parts: Vec::new(),
        }
    }

    /// The phase that holds on a listener: the process's, or its own where that is further on.
    pub fn of(&self, listener: ListenerIndex) -> Phase {
        let own = self
            .parts
            .iter()
            .filter(|view| view.part.is_all_of(listener))
            .map(|view| view.phase);
        own.fold(self.phase, Phase::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_as_far_as_itself_or_the_process_whichever_is_further() {
        let (here, there) = (ListenerIndex(0), ListenerIndex(1));
        let now = Instant::now();
        let mut view = PhaseView::starting();
        view.parts.push(PartView {
            part: Part::Listener(here),
            name: "listener here".into(),
            phase: Phase::Draining,
            since: now,
            drain: DrainView {
                trigger: "api",
                reason: None,
                started: now,
                window: Duration::ZERO,
                deadline: Deadline::after(now, Duration::ZERO),
                ends: now,
                looks_away: false,
                ends_the_process: false,
            },
        });
        for (whole, on_here) in [
            (Phase::Serving, Phase::Draining),
            (Phase::LameDuck, Phase::Draining),
            (Phase::Closing, Phase::Closing),
        ] {
            view.phase = whole;
            assert_eq!((view.of(here), view.of(there)), (on_here, whole));
        }
    }
}
