//! The going of a listener that the configuration names no more: its sessions leave as in a drain,
//! while all else serves, and may be drained itself meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config;
use crate::session::{
    Deadline, DrainView, Ledgers, ListenerIndex, Part, PartView, Phase, PhaseView, Roster, Totals,
    Whom, Workers,
};

use super::closing::{Closing, TICK};
use super::control::{Request, Trigger};
use super::report::Notes;
use super::run::ticks;
use super::schedule::Limits;
use super::witness::Witness;

/// After a reload that lets a listener go, this is how long it is looked for what is left of it
/// when its sessions have ended: tasks say so a little later.
const SETTLE: Duration = Duration::from_secs(5);
/// Why, in words.
const REASON: &str = "the configuration names it no more";
/// How often.
const LOOK: Duration = Duration::from_millis(20);

/// Lets listeners go.
pub struct Retirements {
    /// `[drain]`, as it is now.
    pub settings: watch::Receiver<Arc<config::Drain>>,
    /// The longest that a session hears of its Close before it comes.
    pub ahead: watch::Receiver<Duration>,
    /// The counts.
    pub ledgers: Ledgers,
    /// The ways to the workers.
    pub workers: Workers,
    /// The listeners.
    pub roster: Roster,
    /// Where the phases of parts are published.
    pub phase: watch::Sender<PhaseView>,
    /// Counts a drain that begins, by trigger.
    pub drains: Box<dyn Fn(&'static str)>,
    /// Who hears of those that are asked to go.
    pub witness: Witness,
}

impl Retirements {
    /// Has everything go that a listener has accepted, within the window, and gives up its place.
    /// Whoever drops this before has the rest stay; then [`Retirements::keep`] says so.
    pub async fn retire(&self, listener: ListenerIndex) {
        let part = Part::Removed(listener);
        let settings = Arc::clone(&self.settings.borrow());
        let (now, window) = (Instant::now(), settings.window.length);
        let request = Request {
            trigger: Trigger::Reload,
            part: Some(part),
            window: None,
            reason: Some(REASON.to_owned()),
            looks_away: false,
        };
        (self.drains)(request.trigger.label());
        let deadline = Deadline::after(now, window);
        let name = removed(&self.roster, listener);
        let mut notes = Notes::new(self.totals_of(listener), &request);
        self.publish(listener, &name, now, deadline, window);
        notes.phases.push((Phase::Closing, Duration::ZERO));
        tracing::info!(part = name, window = ?window, "drain begins");
        self.close(listener, deadline, &settings).await;
        notes.gone = self.workers.cut(&Whom::Listener(listener)).await;
        self.settle(listener).await;
        notes.over = now.elapsed();
        let report = notes.report(&request, Some(name), window, &self.totals_of(listener));
        let json = serde_json::to_string(&report).unwrap_or_default();
        tracing::info!(cut = report.cut, report = json, "drain report");
        self.keep(listener);
        if self.is_gone(listener) {
            // One that was drained before it was removed: the next in its place is not.
            let is_other = |view: &PartView| !view.part.is_all_of(listener);
            self.phase.send_modify(|view| view.parts.retain(is_other));
            self.ledgers.forget(listener);
            self.roster.forget(listener);
        }
    }

    /// Notes that a listener is not going, or not any more.
    pub fn keep(&self, listener: ListenerIndex) {
        let part = Part::Removed(listener);
        let is_other = |view: &PartView| view.part != part;
        self.phase.send_modify(|view| view.parts.retain(is_other));
    }

    /// Asks one after the other to go, until all have or the deadline comes.
    async fn close(&self, listener: ListenerIndex, deadline: Deadline, settings: &config::Drain) {
        let limits = Limits {
            close_timeout: settings.close_timeout,
            ahead: *self.ahead.borrow(),
            at_once: settings.max_closing.get(),
        };
        let mut closing = Closing::new(Instant::now(), deadline, limits);
        let mut ticks = ticks(TICK);
        // Connections that hold nothing are asked too: a request may be on its way on them.
        while !self.is_gone(listener) && Instant::now() < deadline.at() {
            ticks.tick().await;
            closing
                .tick(&self.workers, &self.witness, |facts| {
                    facts.listener == listener
                })
                .await;
        }
    }

    fn totals_of(&self, listener: ListenerIndex) -> Totals {
        let mut totals = self.ledgers.totals();
        totals.keep(listener);
        totals
    }

    fn is_gone(&self, listener: ListenerIndex) -> bool {
        let totals = self.totals_of(listener);
        totals.open() == 0 && totals.connections() == 0
    }

    async fn settle(&self, listener: ListenerIndex) {
        let limit = Instant::now() + SETTLE;
        let mut ticks = ticks(LOOK);
        while !self.is_gone(listener) && Instant::now() < limit {
            ticks.tick().await;
        }
    }

    fn publish(
        &self,
        listener: ListenerIndex,
        name: &str,
        now: Instant,
        deadline: Deadline,
        window: Duration,
    ) {
        let part = PartView {
            part: Part::Removed(listener),
            name: name.into(),
            phase: Phase::Closing,
            since: now,
            drain: DrainView {
                trigger: Trigger::Reload.label(),
                reason: Some(REASON.into()),
                started: now,
                window,
                deadline,
                ends: deadline.at(),
                looks_away: false,
                ends_the_process: false,
            },
        };
        self.phase.send_modify(|view| view.parts.push(part));
    }
}

/// What a listener is called that the configuration names no more.
pub(super) fn removed(roster: &Roster, listener: ListenerIndex) -> String {
    format!("removed listener {}", roster.name(listener))
}
