//! The event stream: a status at once, at every change of phase, and when counts have changed.
//!
//! An event is made when the client can take one, of what holds then: a slow reader misses counts
//! and costs no memory. A phase that was over in the same moment stands in the report alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::drain::Report;
use crate::session::{Deadline, Phase};

use super::body::Frames;
use super::status::Status;
use super::{Control, report};

/// Counts come no more often.
const EVERY: Duration = Duration::from_millis(250);
/// After so long without an event a comment is sent, so that a client that is gone is noticed.
const ALIVE: Duration = Duration::from_secs(15);

/// The stream for one client; `permit` is given back with it.
pub(super) fn frames(control: Control, permit: OwnedSemaphorePermit) -> StreamBody<Frames> {
    let events = Events::new(control, permit);
    let frames = stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((Ok(Frame::data(event)), events))
    });
    StreamBody::new(Box::pin(frames))
}

/// What an event is about; two that are equal need not both be sent.
#[derive(Clone, PartialEq)]
struct Seen {
    phase: Phase,
    deadline: Option<Deadline>,
    parts: Vec<(Phase, Deadline)>,
    sessions: std::collections::BTreeMap<String, std::collections::BTreeMap<String, u64>>,
    connections: u64,
    holds: usize,
}

struct Events {
    control: Control,
    ticks: Interval,
    seen: Option<Seen>,
    /// The last report that was told, or was old when the stream began.
    told: Option<Arc<Report>>,
    /// Whether the report of the drain that is over is still to be told.
    report: bool,
    sent: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Events {
    fn new(mut control: Control, permit: OwnedSemaphorePermit) -> Events {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        control.phase.mark_changed();
        let told = control.reports.borrow().clone();
        Events {
            control,
            ticks,
            seen: None,
            told,
            report: false,
            sent: Instant::now(),
            _permit: permit,
        }
    }

    /// The next event; none when the process leaves.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if std::mem::take(&mut self.report) {
                let report = self.control.reports.borrow().clone();
                if let Some(report) = report {
                    let whole = report::Whole::of(&report, &self.control.drain.borrow());
                    return Some(self.event("report", &whole));
                }
            }
            let first = self.seen.is_none();
            let leaving = tokio::select! {
                biased;
                changed = self.control.phase.changed() => changed.is_err(),
                _ = self.ticks.tick() => false,
                () = self.control.stop.cancelled() => true,
            };
            if leaving {
                return None;
            }
            let (status, now) = self.look();
            let before = self.seen.replace(now.clone());
            let phase = |seen: &Seen| (seen.phase, seen.deadline, seen.parts.clone());
            if before.as_ref().map(phase) != Some(phase(&now)) {
                // The report of a drain is there before the phase says that it is over.
                let last = self.control.reports.borrow().clone();
                let which = |report: &Option<Arc<Report>>| report.as_ref().map(Arc::as_ptr);
                let is_new = which(&last) != which(&self.told);
                self.report = is_new || (first && now.phase == Phase::Drained);
                self.told = last;
                return Some(self.event(if first { "status" } else { "phase" }, &status));
            }
            if before != Some(now) {
                return Some(self.event("counts", &status));
            }
            if self.sent.elapsed() >= ALIVE {
                self.sent = Instant::now();
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
    }

    fn look(&mut self) -> (Status, Seen) {
        let view = self.control.phase.borrow_and_update().clone();
        let status = self.control.status();
        let seen = Seen {
            phase: view.phase,
            deadline: view.drain.map(|drain| drain.deadline),
            parts: view
                .parts
                .iter()
                .map(|part| (part.phase, part.drain.deadline))
                .collect(),
            sessions: status.sessions.clone(),
            connections: status.connections,
            holds: status.holds_open,
        };
        (status, seen)
    }

    /// An event whose data is one line of JSON.
    fn event(&mut self, name: &str, data: &impl Serialize) -> Bytes {
        self.sent = Instant::now();
        let data = serde_json::to_string(data).unwrap_or_default();
        Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
    }
}
