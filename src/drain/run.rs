//! The drain's loop: the one owner of the phase. It hears what is wished, and has one drain under
//! way at most.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config;
use crate::net::Upstreams;
use crate::session::{
    DrainView, Holds, Ledgers, Part, PartView, Phase, PhaseView, Refusal, Roster, Workers,
};

use super::control::{Answer, Refused, Reply, Request, Trigger, Wish, Wishes};
use super::course::Over;
use super::machine::{Event, NoSuchStep, next};
use super::report::Report;
use super::retire::removed;
use super::windows::Windows;
use super::witness::Witness;

/// What the drain reads, orders and writes.
pub struct Parts {
    /// `[drain]`, as it is now.
    pub settings: watch::Receiver<Arc<config::Drain>>,
    /// How long there is.
    pub windows: Windows,
    /// The listeners.
    pub roster: Roster,
    /// The agents' endpoints.
    pub upstreams: Upstreams,
    /// The longest that a session hears of its Close before it comes.
    pub ahead: watch::Receiver<Duration>,
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
    settings: watch::Receiver<Arc<config::Drain>>,
    pub(super) windows: Windows,
    roster: Roster,
    pub(super) upstreams: Upstreams,
    pub(super) ahead: watch::Receiver<Duration>,
    pub(super) ledgers: Ledgers,
    pub(super) workers: Workers,
    pub(super) holds: Holds,
    pub(super) phase: watch::Sender<PhaseView>,
    pub(super) reports: watch::Sender<Option<Arc<Report>>>,
    pub(super) wishes: mpsc::UnboundedReceiver<Wish>,
    pub(super) drains: Box<dyn Fn(&'static str) + Send>,
    pub(super) witness: Witness,
}

/// How the process ends.
#[derive(Debug)]
pub struct Ended {
    /// The report of the last drain; none if there was nothing to drain yet.
    pub report: Option<Arc<Report>>,
    /// Whether sessions were cut.
    pub cut: bool,
}

impl Drain {
    /// A drain that waits for its first wish.
    pub fn new(parts: Parts) -> Drain {
        Drain {
            settings: parts.settings,
            windows: parts.windows,
            roster: parts.roster,
            upstreams: parts.upstreams,
            ahead: parts.ahead,
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
        if self.step(None, Event::Ready, None).is_err() {
            return Ended {
                report: None,
                cut: false,
            };
        }
        let mut next = None;
        loop {
            let wish = match next.take() {
                Some(wish) => Some(wish),
                None => self.wishes.recv().await,
            };
            let over = match wish {
                None => return self.ended(),
                Some(Wish::Start(request, reply)) => self.start(request, reply).await,
                Some(Wish::Cancel(part, reply)) => {
                    self.bring_back(part, reply);
                    Over::Stays
                }
                Some(Wish::CutNow) if self.phase() == Phase::Drained => return self.ended(),
                Some(Wish::CutNow) => {
                    let request = Request {
                        trigger: Trigger::Signal,
                        part: None,
                        window: None,
                        reason: Some("cut at once".to_owned()),
                        looks_away: false,
                    };
                    self.cut_now(request).await;
                    return self.ended();
                }
            };
            match over {
                Over::Stays => {}
                Over::GivesWay(wish) => next = Some(wish),
                Over::Ends => return self.ended(),
            }
        }
    }

    /// Does what is wished while no drain is under way.
    async fn start(&mut self, request: Request, reply: Reply) -> Over {
        match (self.phase(), request.part) {
            (Phase::Serving, Some(part)) if self.is_drained(part) => {}
            (Phase::Serving, _) => return self.drain(request, reply).await,
            (Phase::Drained, None) if request.trigger.ends_the_process() => return Over::Ends,
            (_, Some(_)) => {
                let _ = reply.send(Err(Refused::Another));
                return Over::Stays;
            }
            _ => {}
        }
        let _ = reply.send(Ok(Answer::UnderWay(self.view())));
        Over::Stays
    }

    /// Has what is drained serve again.
    fn bring_back(&mut self, part: Option<Part>, reply: Reply) {
        let answer = match self.step(part, Event::Cancel, None) {
            Ok(_) => Ok(Answer::Cancelled(self.view())),
            Err(_) => Err(Refused::NothingToCancel),
        };
        let _ = reply.send(answer);
    }

    /// The end of the process, with the report of the last drain.
    fn ended(&self) -> Ended {
        let report = self.reports.borrow().clone();
        let cut = report.as_ref().is_some_and(|report| report.cut > 0);
        Ended { report, cut }
    }

    /// The phase of the process.
    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().phase
    }

    pub(super) fn view(&self) -> PhaseView {
        self.phase.borrow().clone()
    }

    fn is_drained(&self, part: Part) -> bool {
        self.phase_of(Some(part)) == Phase::Drained
    }

    /// The phase of the process, or that of a part of it.
    fn phase_of(&self, part: Option<Part>) -> Phase {
        let view = self.phase.borrow();
        let of = |part| view.parts.iter().find(|view| view.part == part);
        match part {
            None => view.phase,
            Some(part) => of(part).map_or(Phase::Serving, |view| view.phase),
        }
    }

    /// Moves the phase of the process, or of a part of it, on; publishes it and says so in the log.
    pub(super) fn step(
        &self,
        part: Option<Part>,
        event: Event,
        drain: Option<DrainView>,
    ) -> Result<Phase, NoSuchStep> {
        let phase = next(self.phase_of(part), event)?;
        self.publish(part, phase, drain);
        if part.is_none() {
            self.witness.enter(&self.view());
        }
        let totals = self.ledgers.totals();
        tracing::info!(
            phase = phase.label(),
            part = part.map(|part| self.name(part)),
            open = totals.open(),
            connections = totals.connections(),
            refused = totals.refused(Refusal::Draining),
            "phase"
        );
        Ok(phase)
    }

    pub(super) fn publish(&self, part: Option<Part>, phase: Phase, drain: Option<DrainView>) {
        let since = Instant::now();
        if let Some(Part::Endpoint(id)) = part {
            self.set_drained(id, drain.is_some());
        }
        let name = part.map(|part| self.name(part).into());
        self.phase.send_modify(|view| match (part, drain) {
            (None, drain) => {
                *view = PhaseView {
                    phase,
                    since,
                    drain,
                    // Who serves again serves as a whole, but for endpoints that are drained: they
                    // may be gone; and for what is named no more.
                    parts: match phase {
                        Phase::Serving => self.staying(&view.parts),
                        _ => std::mem::take(&mut view.parts),
                    },
                }
            }
            (Some(part), drain) => {
                view.parts.retain(|view| view.part != part);
                view.parts.extend(drain.map(|drain| PartView {
                    part,
                    name: name.clone().unwrap_or_default(),
                    phase,
                    since,
                    drain,
                }));
            }
        });
    }

    /// `[drain]`, as it is now.
    pub(super) fn settings(&self) -> Arc<config::Drain> {
        Arc::clone(&self.settings.borrow())
    }

    /// What a part is called in the log and the report.
    pub(super) fn name(&self, part: Part) -> String {
        match part {
            Part::Listener(listener) => format!("listener {}", self.roster.name(listener)),
            Part::Removed(listener) => removed(&self.roster, listener),
            Part::Endpoint(id) => self.name_of_endpoint(id),
            // Rounded, since a share such as 0.07 is no exact number of hundredths.
            Part::Share(share) => format!("share {}%", (share * 10_000.0).round() / 100.0),
        }
    }
}

pub(super) fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
