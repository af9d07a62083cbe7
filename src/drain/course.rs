//! The course of one drain, of everything or of a part: its stretches one after the other.

mod heard;
mod share;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::session::{Deadline, DrainView, Facts, Part, Phase, SessionId, Totals, Whom};

use super::closing::{Closing, TICK};
use super::control::{Answer, Reply, Request, Wish};
use super::machine::Event;
use super::report::{Notes, Report};
use super::run::{Drain, ticks};
use super::schedule::Limits;

/// The largest part of a window that the margin may take.
const MARGIN_SHARE: u32 = 5;
/// How often it is looked for new sessions while lame duck.
const LOOK: Duration = Duration::from_millis(50);
/// Between two lines that say how many are left.
const TELL: Duration = Duration::from_secs(5);
/// Cut sessions that have a line of their own in the log.
const LOGGED_CUTS: usize = 10;
/// How long the tasks of what was cut have to say so.
const SETTLE: Duration = Duration::from_millis(200);

/// How a drain is over.
pub(super) enum Over {
    /// The process stays: serving, or drained.
    Stays,
    /// The process ends.
    Ends,
    /// It gives way to this wish.
    GivesWay(Wish),
}

/// A drain under way.
pub(super) struct Course {
    request: Request,
    window: Duration,
    /// The shortest window that was asked for so far.
    shortest: Duration,
    started: Instant,
    deadline: Deadline,
    /// The end of the window.
    ends: Instant,
    /// Whether the balancer is known to look away.
    looks_away: bool,
    pub(super) notes: Notes,
    /// Who has to go, where it is not everybody.
    chosen: Option<Arc<HashSet<SessionId>>>,
    ends_the_process: bool,
    cut_now: bool,
}

impl Course {
    fn view(&self) -> DrainView {
        DrainView {
            trigger: self.request.trigger.label(),
            reason: self.request.reason.as_deref().map(Arc::from),
            started: self.started,
            window: self.window,
            deadline: self.deadline,
            ends: self.ends,
            looks_away: self.looks_away,
            ends_the_process: self.ends_the_process,
        }
    }

    /// Who is meant by this drain.
    fn whom(&self) -> Whom {
        match (self.request.part, &self.chosen) {
            (None, _) => Whom::All,
            (Some(Part::Listener(listener) | Part::Removed(listener)), _) => {
                Whom::Listener(listener)
            }
            (Some(Part::Endpoint(endpoint)), _) => Whom::Endpoint(endpoint),
            (Some(Part::Share(_)), chosen) => Whom::These(chosen.clone().unwrap_or_default()),
        }
    }
}

/// Why a drain is broken off.
pub(super) enum Broken {
    Cancelled,
    GivesWay(Wish),
}

impl Drain {
    /// A whole drain.
    pub(super) async fn drain(&mut self, request: Request, reply: Reply) -> Over {
        let mut course = self.begin(request, Instant::now());
        let part = course.request.part;
        tracing::info!(
            trigger = course.request.trigger.label(),
            part = part.map(|part| self.name(part)),
            reason = course.request.reason.as_deref().unwrap_or_default(),
            window = ?course.window,
            "drain begins"
        );
        let went = match part {
            Some(Part::Share(share)) => self.leave_of_share(&mut course, share, reply).await,
            Some(Part::Endpoint(id)) => self.leave_of_endpoint(&mut course, id, reply).await,
            _ => self.leave_of_all(&mut course, reply).await,
        };
        match went {
            Ok(()) => self.end(course).await,
            Err(Broken::Cancelled) => {
                tracing::info!("drain cancelled");
                Over::Stays
            }
            Err(Broken::GivesWay(wish)) => {
                tracing::info!("the drain of a part gives way");
                Over::GivesWay(wish)
            }
        }
    }

    /// Ends everything without asking anybody.
    pub(super) async fn cut_now(&mut self, request: Request) {
        let mut course = self.begin(request, Instant::now());
        self.enter(&mut course, Event::Trigger);
        self.end(course).await;
    }

    fn begin(&self, request: Request, now: Instant) -> Course {
        let window = request.window.unwrap_or_else(|| self.windows.now().length);
        let always = self.settings().exit_when_drained == config::ExitWhenDrained::Always;
        let asked = request.trigger.ends_the_process() || always;
        let ends_the_process = request.part.is_none() && asked;
        (self.drains)(request.trigger.label());
        let totals = self.totals_of(request.part);
        Course {
            window,
            shortest: window,
            started: now,
            deadline: self.deadline(now, window),
            ends: now + window,
            looks_away: request.looks_away,
            notes: Notes::new(totals, &request),
            chosen: None,
            ends_the_process,
            cut_now: false,
            request,
        }
    }

    fn deadline(&self, now: Instant, window: Duration) -> Deadline {
        Deadline::after(
            now,
            window - self.settings().margin.min(window / MARGIN_SHARE),
        )
    }

    /// The counts that matter to a drain: those of a listener, or all.
    fn totals_of(&self, part: Option<Part>) -> Totals {
        let mut totals = self.ledgers.totals();
        if let Some(Part::Listener(listener)) = part {
            totals.keep(listener);
        }
        totals
    }

    /// Whether nothing is open and, where everything goes, nobody holds the process any more.
    pub(super) fn is_empty(&self, course: &Course) -> bool {
        let part = course.request.part;
        let held = part.is_none() && self.holds.live(Instant::now()) > 0;
        !held && self.has_no_session(part)
    }

    fn has_no_session(&self, part: Option<Part>) -> bool {
        match part {
            Some(Part::Endpoint(id)) => self.sessions_on(id) == 0,
            part => self.totals_of(part).open() == 0,
        }
    }

    fn expire_holds(&self) {
        for hold in self.holds.expire(Instant::now()) {
            tracing::warn!(hold.id = %hold.id, reason = hold.reason, "hold expired");
        }
    }

    pub(super) fn enter(&self, course: &mut Course, event: Event) {
        if let Ok(phase) = self.step(course.request.part, event, Some(course.view())) {
            course.notes.phases.push((phase, course.started.elapsed()));
        }
    }

    /// The way of everything, or of a listener.
    async fn leave_of_all(&mut self, course: &mut Course, reply: Reply) -> Result<(), Broken> {
        self.enter(course, Event::Trigger);
        let _ = reply.send(Ok(Answer::Started(self.view())));
        self.lame_duck(course).await?;
        self.finish(course).await?;
        if self.is_empty(course) {
            return Ok(());
        }
        self.enter(course, Event::TimeToClose);
        self.close(course).await
    }

    /// Serves new sessions until they have stopped coming.
    async fn lame_duck(&mut self, course: &mut Course) -> Result<(), Broken> {
        let part = course.request.part;
        let settings = self.settings();
        let mut seen = self.totals_of(part).opened();
        let mut quiet_since = Instant::now();
        let mut latest = course.started + settings.lame_duck_max.within(course.window);
        let mut ticks = ticks(LOOK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => if self.hear(wish, course)? {
                    let left = course.deadline.left(Instant::now());
                    let hurried = Instant::now() + settings.lame_duck_max.within(left);
                    latest = latest.min(hurried);
                },
            }
            let now = Instant::now();
            let opened = self.totals_of(part).opened();
            if opened != seen {
                (seen, quiet_since) = (opened, now);
            }
            let long_enough = now >= course.started + settings.lame_duck_min;
            let quiet = now - quiet_since >= settings.lame_duck_quiet;
            if (long_enough && quiet) || now >= latest || course.cut_now {
                course.notes.lame_duck_ended = Some(opened);
                self.enter(course, Event::ArrivalsEnded);
                return Ok(());
            }
        }
    }

    /// Gives sessions their time to finish.
    pub(super) async fn finish(&mut self, course: &mut Course) -> Result<(), Broken> {
        let finished = Instant::now() + self.settings().finish;
        let mut ticks = ticks(TICK);
        loop {
            let now = Instant::now();
            self.expire_holds();
            let over = now >= finished.min(course.deadline.at());
            if self.is_empty(course) || course.cut_now || over {
                return Ok(());
            }
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => {
                    self.hear(wish, course)?;
                }
            }
        }
    }

    /// Asks what is left to go, until it has or the deadline comes.
    pub(super) async fn close(&mut self, course: &mut Course) -> Result<(), Broken> {
        let mut closing = self.closing(course);
        let whom = course.whom();
        let part = course.request.part;
        let meant = |facts: &Facts| {
            whom.means(facts.listener, facts.endpoint, facts.id)
                && Drain::is_to_be_asked(part, facts)
        };
        let mut ticks = ticks(TICK);
        let mut told = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => if self.hear(wish, course)? {
                    closing.shorten(Instant::now(), course.deadline);
                },
            }
            self.expire_holds();
            let now = Instant::now();
            if self.is_empty(course) || course.cut_now || now >= course.deadline.at() {
                return Ok(());
            }
            closing.tick(&self.workers, &self.witness, meant).await;
            if told.elapsed() >= TELL {
                told = Instant::now();
                let left = course.deadline.left(told);
                let open = match part {
                    Some(Part::Endpoint(id)) => self.sessions_on(id) as u64,
                    part => self.totals_of(part).open(),
                };
                let holds = self.holds.live(told);
                tracing::info!(open, holds, left = ?left, "closing");
            }
        }
    }

    fn closing(&self, course: &Course) -> Closing {
        let settings = self.settings();
        let limits = Limits {
            close_timeout: settings.close_timeout,
            ahead: *self.ahead.borrow(),
            at_once: settings.max_closing.get(),
        };
        Closing::new(Instant::now(), course.deadline, limits)
    }

    /// Cuts what is left, reports, and says whether the process ends.
    async fn end(&mut self, mut course: Course) -> Over {
        let part = course.request.part;
        // Asked even when nothing is open: some may have been cut alone before.
        course.notes.gone = self.workers.cut(&course.whom()).await;
        if !course.notes.gone.cut.is_empty() {
            for cut in course.notes.gone.cut.iter().take(LOGGED_CUTS) {
                tracing::warn!(
                    session.id = %cut.facts.id,
                    client.addr = %cut.facts.client,
                    why = cut.why,
                    "session cut"
                );
            }
            self.settle(&course).await;
        }
        course.notes.over = course.started.elapsed();
        let report = Arc::new(course.notes.report(
            &course.request,
            part.map(|part| self.name(part)),
            course.window,
            &self.totals_of(part),
        ));
        self.reports.send_replace(Some(Arc::clone(&report)));
        match part {
            Some(Part::Share(_)) => self.publish(part, Phase::Serving, None),
            _ => self.enter(&mut course, Event::Over),
        }
        let json = serde_json::to_string(&*report).unwrap_or_default();
        tracing::info!(cut = report.cut, report = json, "drain report");
        self.write(&report);
        if part.is_none() {
            self.witness.report(&report);
        }
        if course.ends_the_process && part.is_none() {
            Over::Ends
        } else {
            Over::Stays
        }
    }

    /// Waits until those that were cut stand in the ledger: HTTP ends in tasks of its own.
    async fn settle(&self, course: &Course) {
        let part = course.request.part;
        if matches!(part, Some(Part::Share(_))) {
            tokio::time::sleep(SETTLE).await;
            return;
        }
        let limit = Instant::now() + SETTLE;
        let mut ticks = ticks(Duration::from_millis(5));
        while !self.has_no_session(part) && Instant::now() < limit {
            ticks.tick().await;
        }
    }

    /// Writes the report where the operator wants it; one that cannot be written is in the log.
    fn write(&self, report: &Report) {
        let Some(path) = &self.settings().report_file else {
            return;
        };
        let json = serde_json::to_vec_pretty(report).unwrap_or_default();
        if let Err(error) = std::fs::write(path, json) {
            tracing::error!(path = %path.display(), %error, "drain.report_file cannot be written");
        }
    }
}
