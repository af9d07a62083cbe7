//! What systemd is told, made of the phase and the counts.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::session::{Phase, PhaseView};

/// Between two status lines at the least.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How much longer systemd is asked to wait each time: its own patience ends with this if we hang.
const EXTENSION: Duration = Duration::from_secs(15);
/// How often it is asked.
const EXTEND: Duration = Duration::from_secs(4);

/// What is open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    pub(super) sessions: u64,
    pub(super) connections: u64,
    pub(super) holds: usize,
}

/// What has been told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    ready: bool,
    pub(super) stopping: bool,
    extended: Option<Instant>,
    status: Option<(Instant, String)>,
}

impl Told {
    /// What there is to tell now, in one message; empty if nothing.
    pub(super) fn next(&mut self, now: Instant, view: &PhaseView, open: Open) -> Vec<Word> {
        let mut words = Vec::new();
        if view.phase >= Phase::Serving && !self.ready {
            self.ready = true;
            words.push(Word::Ready);
        }
        let ends = view
            .drain
            .as_ref()
            .is_some_and(|drain| drain.ends_the_process);
        if ends && !self.stopping {
            self.stopping = true;
            words.push(Word::Stopping);
        }
        // Also where the process stays: systemd may want to stop it before the drain is over. And at
        // the end of one that goes, for platforms are still told then.
        let drains = view.drain.is_some() && (ends || view.phase < Phase::Drained);
        let due = |last: Instant| now.saturating_duration_since(last) >= EXTEND;
        if drains && self.extended.is_none_or(due) {
            self.extended = Some(now);
            words.push(Word::Extend(EXTENSION));
        } else if !drains {
            self.extended = None;
        }
        let status = status(now, view, open);
        let is_news = match &self.status {
            Some((at, last)) => *last != status && now.saturating_duration_since(*at) >= LOOK,
            None => true,
        };
        if is_news {
            self.status = Some((now, status.clone()));
            words.push(Word::Status(status));
        }
        words
    }
}

/// One thing to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ready,
    Stopping,
    Extend(Duration),
    Status(String),
}

impl Word {
    /// As systemd hears it.
    pub(super) fn state(&self) -> NotifyState<'_> {
        match self {
            Word::Ready => NotifyState::Ready,
            Word::Stopping => NotifyState::Stopping,
            Word::Extend(length) => NotifyState::ExtendTimeoutUsec(
                u32::try_from(length.as_micros()).unwrap_or(u32::MAX),
            ),
            Word::Status(text) => NotifyState::Status(text),
        }
    }
}

/// The line that `systemctl status` shows.
fn status(now: Instant, view: &PhaseView, open: Open) -> String {
    let Open {
        sessions,
        connections,
        holds,
    } = open;
    let mut text = format!(
        "{}: {sessions} sessions, {connections} connections",
        view.phase
    );
    if holds > 0 {
        text += &format!(", {holds} holds");
    }
    if let Some(drain) = &view.drain
        && view.phase < Phase::Drained
    {
        text += &format!("; {} s left", drain.deadline.left(now).as_secs());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Deadline, DrainView};

    const SECOND: Duration = Duration::from_secs(1);
    const OPEN: Open = Open {
        sessions: 2,
        connections: 3,
        holds: 0,
    };

    fn view(phase: Phase, drain: Option<(Instant, bool)>) -> PhaseView {
        PhaseView {
            phase,
            drain: drain.map(|(started, ends_the_process)| DrainView {
                trigger: "signal",
                reason: None,
                started,
                window: SECOND * 60,
                deadline: Deadline::after(started, SECOND * 60),
                ends: started + SECOND * 62,
                looks_away: false,
                ends_the_process,
            }),
            ..PhaseView::starting()
        }
    }

    fn status_of(text: &str) -> Word {
        Word::Status(text.to_owned())
    }

    #[test]
    fn ready_is_said_once_and_the_status_at_most_each_second() {
        let (mut told, start) = (Told::default(), Instant::now());
        let serving = view(Phase::Serving, None);
        let starting = told.next(start, &PhaseView::starting(), Open::default());
        assert_eq!(starting, [status_of("starting: 0 sessions, 0 connections")]);
        assert_eq!(told.next(start, &serving, OPEN), [Word::Ready]);
        let second = told.next(start + SECOND, &serving, OPEN);
        assert_eq!(second, [status_of("serving: 2 sessions, 3 connections")]);
        assert_eq!(told.next(start + SECOND * 2, &serving, OPEN), []);
    }

    #[test]
    fn a_drain_asks_for_time_well_within_what_it_has_asked_for() {
        for ends in [true, false] {
            let (mut told, start) = (Told::default(), Instant::now());
            told.next(start, &view(Phase::Serving, None), OPEN);
            let mut last = start;
            for second in 1..30 {
                let now = start + SECOND * second;
                let words = told.next(now, &view(Phase::Closing, Some((start, ends))), OPEN);
                assert_eq!(words.contains(&Word::Stopping), ends && second == 1);
                if words.contains(&Word::Extend(EXTENSION)) {
                    last = now;
                }
                assert!(now - last <= EXTENSION / 3, "second {second}");
            }
            // Drained, it asks for more only if it goes: somebody is being told.
            let now = start + SECOND * 40;
            let words = told.next(now, &view(Phase::Drained, Some((start, ends))), OPEN);
            assert_eq!(words.contains(&Word::Extend(EXTENSION)), ends);
        }
    }

    #[test]
    fn the_status_of_a_drain_says_how_long_it_may_take() {
        let start = Instant::now();
        let held = Open { holds: 1, ..OPEN };
        let closing = view(Phase::Closing, Some((start, true)));
        assert_eq!(
            status(start + SECOND * 18, &closing, held),
            "closing: 2 sessions, 3 connections, 1 holds; 42 s left"
        );
    }
}
