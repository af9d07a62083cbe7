//! The drain's loop: the one owner of the phase.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config;
use crate::session::{Deadline, DrainView, Holds, Ledgers, Phase, PhaseView, Workers};

use super::closing::{Closing, TICK};
use super::control::{Answer, Refused, Request, Trigger, Wish, Wishes};
use super::machine::{Event, next};
use super::report::{Notes, Report};
use super::witness::Witness;

/// The largest part of a window that the margin may take.
const MARGIN_SHARE: u32 = 5;

/// Cut sessions that have a line of their own in the log.
const LOGGED_CUTS: usize = 10;
/// How long the tasks of what was cut have to say so.
const SETTLE: Duration = Duration::from_millis(200);

/// What the drain reads, orders and writes.
pub struct Parts {
    /// `[drain]`.
    pub settings: config::Drain,
    /// The counts.
    pub ledgers: Ledgers,
    /// The ways to the workers.
    pub workers: Workers,
    /// The holds.
    pub holds: Holds,
    /// Where the phase is published.
    pub phase: watch::Sender<PhaseView>,
    /// Where the last report is published.
    pub reports: watch::Sender<Option<Arc<Report>>>,
    /// What is wished.
    pub wishes: Wishes,
    /// Counts a drain that begins, by trigger.
    pub drains: Box<dyn Fn(&'static str) + Send>,
    /// Who hears of it as it goes.
    pub witness: Witness,
}

/// What drives the phase from `starting` to the end of the process.
pub struct Drain {
    settings: config::Drain,
    ledgers: Ledgers,
    workers: Workers,
    holds: Holds,
    phase: watch::Sender<PhaseView>,
    reports: watch::Sender<Option<Arc<Report>>>,
    wishes: mpsc::UnboundedReceiver<Wish>,
    drains: Box<dyn Fn(&'static str) + Send>,
    witness: Witness,
}

/// How the process ends.
#[derive(Debug)]
pub struct Ended {
    /// The report of the last drain; none if there was nothing to drain yet.
    pub report: Option<Arc<Report>>,
    /// Whether sessions were cut.
    pub cut: bool,
}

/// A drain under way.
struct UnderWay {
    request: Request,
    window: Duration,
    /// The shortest window that was asked for so far.
    shortest: Duration,
    started: Instant,
    deadline: Deadline,
    /// The end of the window.
    ends: Instant,
    notes: Notes,
    ends_the_process: bool,
    cut_now: bool,
}

impl UnderWay {
    fn view(&self) -> DrainView {
        DrainView {
            trigger: self.request.trigger.label(),
            reason: self.request.reason.as_deref().map(Arc::from),
            started: self.started,
            window: self.window,
            deadline: self.deadline,
            ends: self.ends,
        }
    }
}

/// What a wish that came during a drain leads to.
enum Turn {
    GoOn,
    Shortened,
    Cancelled,
}

impl Drain {
    /// A drain that waits for its first wish.
    pub fn new(parts: Parts) -> Drain {
        Drain {
            settings: parts.settings,
            ledgers: parts.ledgers,
            workers: parts.workers,
            holds: parts.holds,
            phase: parts.phase,
            reports: parts.reports,
            wishes: parts.wishes.0,
            drains: parts.drains,
            witness: parts.witness,
        }
    }

    /// Serves, and drains when asked to; ends when the process should.
    pub async fn run(mut self) -> Ended {
        if self.step(Event::Ready, None).is_err() {
            return Ended {
                report: None,
                cut: false,
            };
        }
        loop {
            let Some(wish) = self.wishes.recv().await else {
                return self.ended();
            };
            match wish {
                Wish::Start(request, _)
                    if self.phase() == Phase::Drained && request.trigger.ends_the_process() =>
                {
                    return self.ended();
                }
                Wish::Start(request, reply) if self.phase() == Phase::Serving => {
                    if let Some(ended) = self.drain(request, reply).await {
                        return ended;
                    }
                }
                Wish::Start(_, reply) => {
                    let _ = reply.send(Ok(Answer::UnderWay(self.view())));
                }
                Wish::Cancel(reply) => {
                    let answer = match self.step(Event::Cancel, None) {
                        Ok(()) => Ok(Answer::Cancelled(self.view())),
                        Err(_) => Err(Refused::NothingToCancel),
                    };
                    let _ = reply.send(answer);
                }
                Wish::CutNow if self.phase() == Phase::Drained => return self.ended(),
                Wish::CutNow => {
                    let request = Request {
                        trigger: Trigger::Signal,
                        window: None,
                        reason: Some("cut at once".to_owned()),
                    };
                    let mut drain = self.begin(request, Instant::now());
                    self.enter(&mut drain, Event::Trigger);
                    self.end(drain).await;
                    return self.ended();
                }
            }
        }
    }

    /// The end of the process, with the report of the last drain.
    fn ended(&self) -> Ended {
        let report = self.reports.borrow().clone();
        let cut = report.as_ref().is_some_and(|report| report.cut > 0);
        Ended { report, cut }
    }

    fn phase(&self) -> Phase {
        self.phase.borrow().phase
    }

    fn view(&self) -> PhaseView {
        self.phase.borrow().clone()
    }

    /// Whether nothing is open and nobody holds the process any more.
    fn is_empty(&self) -> bool {
        self.ledgers.totals().open() == 0 && self.holds.live(Instant::now()) == 0
    }

    fn expire_holds(&self) {
        for hold in self.holds.expire(Instant::now()) {
            tracing::warn!(hold.id = %hold.id, reason = hold.reason, "hold expired");
        }
    }

    /// Moves the phase on, publishes it and says so in the log.
    fn step(
        &self,
        event: Event,
        drain: Option<DrainView>,
    ) -> Result<(), super::machine::NoSuchStep> {
        let phase = next(self.phase(), event)?;
        self.phase.send_replace(PhaseView {
            phase,
            since: Instant::now(),
            drain,
        });
        self.witness.enter(&self.view());
        let totals = self.ledgers.totals();
        tracing::info!(
            phase = phase.label(),
            open = totals.open(),
            connections = totals.connections(),
            refused = totals.refused(crate::session::Refusal::Draining),
            "phase"
        );
        Ok(())
    }

    fn begin(&self, request: Request, now: Instant) -> UnderWay {
        let window = request.window.unwrap_or(self.settings.window);
        let ends_the_process = request.trigger.ends_the_process();
        (self.drains)(request.trigger.label());
        UnderWay {
            window,
            shortest: window,
            started: now,
            deadline: self.deadline(now, window),
            ends: now + window,
            notes: Notes::new(self.ledgers.totals()),
            ends_the_process,
            cut_now: false,
            request,
        }
    }

    fn deadline(&self, now: Instant, window: Duration) -> Deadline {
        Deadline::after(
            now,
            window - self.settings.margin.min(window / MARGIN_SHARE),
        )
    }

    /// A whole drain; what it returns is the end of the process.
    async fn drain(
        &mut self,
        request: Request,
        reply: oneshot::Sender<Result<Answer, Refused>>,
    ) -> Option<Ended> {
        let mut drain = self.begin(request, Instant::now());
        tracing::info!(
            trigger = drain.request.trigger.label(),
            reason = drain.request.reason.as_deref().unwrap_or_default(),
            window = ?drain.window,
            "drain begins"
        );
        self.enter(&mut drain, Event::Trigger);
        let _ = reply.send(Ok(Answer::Started(self.view())));
        let stayed = self.lame_duck(&mut drain).await && self.finish(&mut drain).await;
        if !stayed {
            tracing::info!("drain cancelled");
            return None;
        }
        self.close(&mut drain).await;
        self.end(drain).await
    }

    fn enter(&self, drain: &mut UnderWay, event: Event) {
        if self.step(event, Some(drain.view())).is_ok() {
            drain
                .notes
                .phases
                .push((self.phase(), drain.started.elapsed()));
        }
    }

    /// Serves new sessions until they have stopped coming; false if the drain was cancelled.
    async fn lame_duck(&mut self, drain: &mut UnderWay) -> bool {
        let settings = self.settings.clone();
        let mut seen = self.ledgers.totals().opened();
        let mut quiet_since = Instant::now();
        let mut latest = drain.started + settings.lame_duck_max.within(drain.window);
        let mut ticks = ticks(Duration::from_millis(50));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => match self.hear(wish, drain) {
                    Turn::GoOn => {}
                    Turn::Shortened => {
                        let left = drain.deadline.left(Instant::now());
                        let hurried = Instant::now() + settings.lame_duck_max.within(left);
                        latest = latest.min(hurried);
                    }
                    Turn::Cancelled => return false,
                },
            }
            let now = Instant::now();
            let opened = self.ledgers.totals().opened();
            if opened != seen {
                (seen, quiet_since) = (opened, now);
            }
            let long_enough = now >= drain.started + settings.lame_duck_min;
            let quiet = now - quiet_since >= settings.lame_duck_quiet;
            if (long_enough && quiet) || now >= latest || drain.cut_now {
                drain.notes.lame_duck_ended = Some(opened);
                self.enter(drain, Event::ArrivalsEnded);
                return true;
            }
        }
    }

    /// Gives sessions their time to finish; false if the drain was cancelled.
    async fn finish(&mut self, drain: &mut UnderWay) -> bool {
        let finished = Instant::now() + self.settings.finish;
        let mut ticks = ticks(TICK);
        loop {
            let now = Instant::now();
            self.expire_holds();
            if self.is_empty() || drain.cut_now || now >= finished.min(drain.deadline.at()) {
                return true;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => {
                    if let Turn::Cancelled = self.hear(wish, drain) {
                        return false;
                    }
                }
            }
        }
    }

    /// Asks what is left to go, until it has or the deadline comes.
    async fn close(&mut self, drain: &mut UnderWay) {
        if self.is_empty() {
            return;
        }
        self.enter(drain, Event::TimeToClose);
        let close_timeout = self.settings.close_timeout;
        let mut closing = Closing::new(Instant::now(), drain.deadline, close_timeout);
        let mut ticks = ticks(TICK);
        let mut told = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => {
                    if let Turn::Shortened = self.hear(wish, drain) {
                        closing.shorten(Instant::now(), drain.deadline);
                    }
                }
            }
            self.expire_holds();
            if self.is_empty() || drain.cut_now || Instant::now() >= drain.deadline.at() {
                return;
            }
            closing.tick(&self.workers, &self.witness).await;
            if told.elapsed() >= Duration::from_secs(5) {
                told = Instant::now();
                let left = drain.deadline.left(told);
                let open = self.ledgers.totals().open();
                let holds = self.holds.live(told);
                tracing::info!(open, holds, left = ?left, "closing");
            }
        }
    }

    /// Cuts what is left, reports, and says whether the process ends.
    async fn end(&mut self, mut drain: UnderWay) -> Option<Ended> {
        // Asked even when nothing is open: some may have been cut alone before.
        drain.notes.gone = self.workers.cut().await;
        if !drain.notes.gone.cut.is_empty() {
            for cut in drain.notes.gone.cut.iter().take(LOGGED_CUTS) {
                tracing::warn!(
                    session.id = %cut.facts.id,
                    client.addr = %cut.facts.client,
                    why = cut.why,
                    "session cut"
                );
            }
            self.settle().await;
        }
        drain.notes.over = drain.started.elapsed();
        let report = Arc::new(drain.notes.report(
            drain.request.trigger.label(),
            drain.request.reason.clone(),
            drain.window,
            &self.ledgers.totals(),
        ));
        self.reports.send_replace(Some(Arc::clone(&report)));
        self.enter(&mut drain, Event::Over);
        let json = serde_json::to_string(&*report).unwrap_or_default();
        tracing::info!(cut = report.cut, report = json, "drain report");
        self.write(&report);
        let ends = drain.ends_the_process
            || self.settings.exit_when_drained == config::ExitWhenDrained::Always;
        ends.then(|| self.ended())
    }

    /// Waits until those that were cut stand in the ledger: HTTP ends in tasks of its own.
    async fn settle(&self) {
        let limit = Instant::now() + SETTLE;
        let mut ticks = ticks(Duration::from_millis(5));
        while self.ledgers.totals().open() > 0 && Instant::now() < limit {
            ticks.tick().await;
        }
    }

    /// Writes the report where the operator wants it; one that cannot be written is in the log.
    fn write(&self, report: &Report) {
        let Some(path) = &self.settings.report_file else {
            return;
        };
        let json = serde_json::to_vec_pretty(report).unwrap_or_default();
        if let Err(error) = std::fs::write(path, json) {
            tracing::error!(path = %path.display(), %error, "drain.report_file cannot be written");
        }
    }

    /// Hears a wish while a drain is under way.
    fn hear(&mut self, wish: Option<Wish>, drain: &mut UnderWay) -> Turn {
        match wish {
            None | Some(Wish::CutNow) => {
                drain.cut_now = true;
                drain.ends_the_process = true;
                Turn::Shortened
            }
            Some(Wish::Cancel(reply)) => match self.step(Event::Cancel, None) {
                Ok(()) => {
                    let _ = reply.send(Ok(Answer::Cancelled(self.view())));
                    Turn::Cancelled
                }
                Err(_) => {
                    let _ = reply.send(Err(Refused::NothingToCancel));
                    Turn::GoOn
                }
            },
            Some(Wish::Start(request, reply)) => {
                drain.ends_the_process |= request.trigger.ends_the_process();
                let Some(window) = request.window else {
                    let _ = reply.send(Ok(Answer::UnderWay(self.view())));
                    return Turn::GoOn;
                };
                // The same window once more is no longer one, though it counts from a later moment:
                // a kubelet repeats its preStop, and means the drain that is under way.
                if window > drain.shortest {
                    let _ = reply.send(Err(Refused::Longer));
                    return Turn::GoOn;
                }
                drain.shortest = window;
                let wanted = self.deadline(Instant::now(), window);
                if wanted >= drain.deadline {
                    let _ = reply.send(Ok(Answer::UnderWay(self.view())));
                    return Turn::GoOn;
                }
                drain.deadline = drain.deadline.sooner(wanted);
                drain.ends = drain.ends.min(Instant::now() + window);
                self.phase
                    .send_modify(|view| view.drain = Some(drain.view()));
                tracing::info!(left = ?drain.deadline.left(Instant::now()), "drain shortened");
                let _ = reply.send(Ok(Answer::UnderWay(self.view())));
                Turn::Shortened
            }
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
