//! The drain's loop on time that stands still but for its own waiting, before workers of whom
//! nothing is there but sessions in a ledger.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::config::{self, ExitWhenDrained, LateArrivals, ListenerName, Readiness, Stretch};
use crate::session::metrics::Durations;
use crate::session::{
    Counted, CutSession, Deadline, Facts, Gone, Holding, Holds, Home, Kind, Ledger, Ledgers,
    ListenerIndex, Order, Outcome, Page, Part, Phase, PhaseView, Roster, SessionId, WorkerIndex,
    Workers,
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const WINDOW: Duration = secs(30);
/// The window less the margin.
const DEADLINE: Duration = secs(28);
/// The lame duck stretch, when nobody arrives.
const LAME_DUCK: Duration = secs(3);

/// A session before an imaginary worker.
struct Session {
    counted: Counted,
    listener: ListenerIndex,
    asked: Option<Instant>,
}

/// A process of which only the drain is real.
struct World {
    control: Control,
    phase: watch::Receiver<PhaseView>,
    reports: watch::Receiver<Option<Arc<Report>>>,
    holds: Holds,
    ledger: Arc<Ledger>,
    sessions: RefCell<BTreeMap<usize, Session>>,
    /// Whether who is asked goes.
    obedient: bool,
    began: Instant,
}

impl World {
    /// Runs `story` beside the drain; what is returned is how the process ended, if it did.
    async fn tell<F>(obedient: bool, story: impl FnOnce(std::rc::Rc<World>) -> F) -> Option<Ended>
    where
        F: Future<Output = ()>,
    {
        let (control, wishes) = channel();
        let (phase, view) = watch::channel(PhaseView::starting());
        let (reports, reported) = watch::channel(None);
        let (inbox, orders) = mpsc::unbounded_channel();
        let ledger = Arc::new(Ledger::new(2, Durations::discarded()));
        let holds = Holds::new();
        let drain = Drain::new(Parts {
            settings: watch::channel(Arc::new(settings())).1,
            windows: Windows::new(settings().window),
            roster: Roster::new(["chat", "raw"].map(|name| ListenerName(name.into()))),
            upstreams: Default::default(),
            ahead: watch::channel(Duration::ZERO).1,
            ledgers: Ledgers::new(vec![Arc::clone(&ledger)]),
            workers: Workers::new(vec![inbox]),
            holds: holds.clone(),
            phase,
            reports,
            wishes,
            drains: Box::new(|_| {}),
            witness: Witness::default(),
        });
        let world = std::rc::Rc::new(World {
            control,
            phase: view,
            reports: reported,
            holds,
            ledger,
            sessions: RefCell::default(),
            obedient,
            began: Instant::now(),
        });
        let worker = world.work(orders);
        let told = async {
            let mut phase = world.phase.clone();
            phase
                .wait_for(|view| view.phase == Phase::Serving)
                .await
                .unwrap();
            story(std::rc::Rc::clone(&world)).await;
        };
        let told = timeout(secs(600), told);
        let mut drain = std::pin::pin!(drain.run());
        tokio::select! {
            () = worker => unreachable!("the worker has nobody to serve"),
            told = told => {
                told.expect("the story comes to its end");
                // One that has ended has its end to tell at once.
                timeout(Duration::ZERO, drain).await.ok()
            }
            ended = &mut drain => Some(ended),
        }
    }

    async fn work(&self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::List { reply, .. } => {
                    let facts = self.sessions.borrow().iter().map(facts).collect();
                    let _ = reply.send(Page { facts, next: None });
                }
                Order::Leave { ids, .. } => {
                    let mut sessions = self.sessions.borrow_mut();
                    for id in ids {
                        if self.obedient {
                            let gone = sessions.remove(&id.slot());
                            gone.unwrap().counted.end(Outcome::Closed);
                        } else if let Some(session) = sessions.get_mut(&id.slot()) {
                            session.asked = Some(Instant::now());
                        }
                    }
                }
                Order::Cut { whom, reply } => {
                    let mut gone = Gone::default();
                    let mut sessions = self.sessions.borrow_mut();
                    let meant = sessions.extract_if(.., |slot, session| {
                        whom.means(session.listener, None, id(*slot))
                    });
                    for (slot, session) in meant {
                        let facts = facts((&slot, &session));
                        gone.cut.push(CutSession {
                            facts,
                            why: "stayed",
                        });
                        session.counted.end(Outcome::Cut);
                    }
                    let _ = reply.send(gone);
                }
            }
        }
        std::future::pending::<()>().await;
    }

    fn open(&self, count: usize, listener: u16) {
        let listener = ListenerIndex(listener);
        let mut sessions = self.sessions.borrow_mut();
        for _ in 0..count {
            let slot = sessions.last_key_value().map_or(0, |(slot, _)| slot + 1);
            let counted = self.ledger.open(listener, Kind::Websocket);
            let asked = None;
            sessions.insert(
                slot,
                Session {
                    counted,
                    listener,
                    asked,
                },
            );
        }
    }

    fn open_now(&self) -> usize {
        self.sessions.borrow().len()
    }

    fn asked(&self) -> usize {
        let sessions = self.sessions.borrow();
        sessions
            .values()
            .filter(|session| session.asked.is_some())
            .count()
    }

    /// Waits for a phase, and says how long after the beginning of the world it came.
    async fn reaches(&self, phase: Phase) -> Duration {
        let mut view = self.phase.clone();
        view.wait_for(|view| view.phase == phase).await.unwrap();
        self.began.elapsed()
    }

    fn phase(&self) -> Phase {
        self.phase.borrow().phase
    }

    fn left(&self) -> Duration {
        let view = self.phase.borrow();
        view.drain.as_ref().unwrap().deadline.left(Instant::now())
    }

    async fn drain(&self, part: Option<Part>, window: Duration) -> Result<Answer, Refused> {
        self.ask(Trigger::Api, part, Some(window)).await
    }

    async fn ask(
        &self,
        trigger: Trigger,
        part: Option<Part>,
        window: Option<Duration>,
    ) -> Result<Answer, Refused> {
        let reason = None;
        let request = Request {
            trigger,
            part,
            window,
            reason,
            looks_away: false,
        };
        self.control.ask(request).await
    }

    fn report(&self) -> Arc<Report> {
        self.reports.borrow().clone().unwrap()
    }
}

fn id(slot: usize) -> SessionId {
    SessionId::new(WorkerIndex(0), Home::Pump, slot, 0)
}

fn facts((slot, session): (&usize, &Session)) -> Facts {
    Facts {
        endpoint: None,
        id: id(*slot),
        listener: session.listener,
        holding: Holding::Session(Kind::Websocket),
        client: ([127, 0, 0, 1], 1).into(),
        key: None,
        age: session.counted.opened().elapsed(),
        idle: [secs(60); 2],
        bytes: [0; 2],
        messages: [0; 2],
        asked: session.asked.is_some(),
    }
}

fn settings() -> config::Drain {
    config::Drain {
        window: config::Window::of(WINDOW),
        margin: secs(2),
        lame_duck_min: secs(2),
        lame_duck_max: Stretch::Share(0.5),
        lame_duck_quiet: LAME_DUCK,
        readiness: Readiness::Auto,
        finish: secs(2),
        close_timeout: secs(5),
        max_closing: std::num::NonZeroUsize::new(500).unwrap(),
        late_arrivals: LateArrivals::Refuse,
        sse_retry: secs(5),
        exit_code_when_cut: 3,
        exit_when_drained: ExitWhenDrained::OnSignal,
        report_file: None,
        hooks: config::Hooks::default(),
    }
}

/// Within the ticks by which the drain looks around.
fn about(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) < Duration::from_millis(300)
}

#[tokio::test(start_paused = true)]
async fn a_signal_drains_and_ends_the_process() {
    let ended = World::tell(true, async |world| {
        world.open(300, 0);
        world.ask(Trigger::Signal, None, None).await.unwrap();
        assert_eq!(world.phase(), Phase::LameDuck);
        let refuses = world.reaches(Phase::Draining).await;
        assert!(about(refuses, LAME_DUCK), "{refuses:?}");
        let asks = world.reaches(Phase::Closing).await;
        assert!(about(asks, LAME_DUCK + secs(2)), "{asks:?}");
        std::future::pending::<()>().await;
    });
    let ended = ended.await.unwrap();
    assert!(!ended.cut);
    let report = ended.report.unwrap();
    assert_eq!(report.kinds["websocket"].outcomes["closed"], 300);
}

#[tokio::test(start_paused = true)]
async fn it_is_over_with_the_last_session_and_the_process_stays_for_anything_but_a_signal() {
    let ended = World::tell(true, async |world| {
        world.open(1, 0);
        world.drain(None, WINDOW).await.unwrap();
        world.reaches(Phase::Closing).await;
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, LAME_DUCK + secs(2)), "{over:?}");
        assert!(
            world.control.cancel(None).await.is_ok(),
            "and can come back"
        );
        assert_eq!(world.phase(), Phase::Serving);
        assert!(world.phase.borrow().drain.is_none());
    });
    assert!(ended.await.is_none(), "the process is still there");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_go_is_cut_at_the_deadline() {
    World::tell(false, async |world| {
        world.open(5, 0);
        world.drain(None, WINDOW).await.unwrap();
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, DEADLINE), "{over:?}");
        assert_eq!(world.report().cut, 5);
        assert_eq!(world.report().cut_sessions.len(), 5);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_keeps_the_drain_open_until_it_is_given_back() {
    World::tell(true, async |world| {
        let hold = world
            .holds
            .take(Instant::now(), secs(60), "indexing")
            .unwrap();
        world.drain(None, WINDOW).await.unwrap();
        sleep(secs(12)).await;
        assert_eq!(world.phase(), Phase::Closing);
        world.holds.give_back(Instant::now(), hold.id).unwrap();
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, secs(12)), "{over:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_prolongs_a_hold_and_its_absence_ends_it() {
    World::tell(true, async |world| {
        let hold = world
            .holds
            .take(Instant::now(), secs(7), "indexing")
            .unwrap();
        world.drain(None, WINDOW).await.unwrap();
        sleep(secs(6)).await;
        world
            .holds
            .prolong(Instant::now(), hold.id, secs(7))
            .unwrap()
            .unwrap();
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, secs(13)), "{over:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_rules_over_a_hold() {
    World::tell(true, async |world| {
        world
            .holds
            .take(Instant::now(), secs(600), "for ever")
            .unwrap();
        world.drain(None, WINDOW).await.unwrap();
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, DEADLINE), "{over:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_can_be_cancelled_until_it_closes() {
    World::tell(false, async |world| {
        world.open(5, 0);
        let nothing = world.control.cancel(None).await;
        assert_eq!(nothing.unwrap_err(), Refused::NothingToCancel);
        for phase in [Phase::LameDuck, Phase::Draining] {
            world.drain(None, WINDOW).await.unwrap();
            world.reaches(phase).await;
            assert!(world.control.cancel(None).await.is_ok(), "in {phase}");
            assert_eq!(world.phase(), Phase::Serving);
        }
        world.drain(None, WINDOW).await.unwrap();
        world.reaches(Phase::Closing).await;
        let too_late = world.control.cancel(None).await;
        assert_eq!(too_late.unwrap_err(), Refused::NothingToCancel);
        assert_eq!(world.phase(), Phase::Closing);
        world.reaches(Phase::Drained).await;
        assert!(
            world.control.cancel(None).await.is_ok(),
            "warm pools come back"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_trigger_can_only_shorten() {
    World::tell(false, async |world| {
        world.open(5, 0);
        world.drain(None, WINDOW).await.unwrap();
        sleep(secs(1)).await;
        let longer = world.drain(None, WINDOW + secs(1)).await;
        assert_eq!(longer.unwrap_err(), Refused::Longer);
        // The same once more, as a repeated preStop, changes nothing.
        world.drain(None, WINDOW).await.unwrap();
        world.ask(Trigger::Api, None, None).await.unwrap();
        assert!(
            about(world.left(), DEADLINE - secs(1)),
            "{:?}",
            world.left()
        );
        world.drain(None, secs(10)).await.unwrap();
        assert!(about(world.left(), secs(8)), "{:?}", world.left());
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, secs(9)), "{over:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_during_a_drain_by_api_has_the_process_end_with_it() {
    let ended = World::tell(true, async |world| {
        world.open(50, 0);
        world.drain(None, WINDOW).await.unwrap();
        world.reaches(Phase::Closing).await;
        world.ask(Trigger::Signal, None, None).await.unwrap();
        std::future::pending::<()>().await;
    });
    assert!(ended.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_drained_alone_and_comes_back() {
    const CHAT: Option<Part> = Some(Part::Listener(ListenerIndex(0)));
    World::tell(true, async |world| {
        world.open(20, 0);
        world.open(30, 1);
        world.drain(CHAT, WINDOW).await.unwrap();
        let on = |listener| world.phase.borrow().of(ListenerIndex(listener));
        assert_eq!((on(0), on(1)), (Phase::LameDuck, Phase::Serving));
        assert_eq!(world.phase(), Phase::Serving);
        let other = world
            .drain(Some(Part::Listener(ListenerIndex(1))), WINDOW)
            .await;
        assert_eq!(other.unwrap_err(), Refused::Another);
        let mut view = world.phase.clone();
        let drained = |view: &PhaseView| view.of(ListenerIndex(0)) == Phase::Drained;
        view.wait_for(drained).await.unwrap();
        assert_eq!(world.open_now(), 30, "the other's sessions are untouched");
        let report = world.report();
        assert_eq!(report.part.as_deref(), Some("listener chat"));
        assert_eq!(report.kinds["websocket"].at_start, 20);
        assert_eq!(report.kinds["websocket"].outcomes["closed"], 20);
        world.control.cancel(CHAT).await.unwrap();
        assert_eq!(on(0), Phase::Serving);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_share_is_asked_to_go_while_all_are_served() {
    World::tell(true, async |world| {
        world.open(40, 0);
        world.open(20, 1);
        world.drain(Some(Part::Share(0.25)), WINDOW).await.unwrap();
        assert_eq!(world.phase(), Phase::Serving);
        sleep(secs(10)).await;
        assert!(
            (46..58).contains(&world.open_now()),
            "{} open",
            world.open_now()
        );
        let mut reports = world.reports.clone();
        reports.wait_for(Option::is_some).await.unwrap();
        assert_eq!(world.open_now(), 45);
        let report = world.report();
        assert_eq!(report.part.as_deref(), Some("share 25%"));
        assert_eq!(report.kinds["websocket"].outcomes["closed"], 15);
        sleep(secs(1)).await;
        assert!(world.phase.borrow().parts.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_drain_of_a_part_gives_way_to_that_of_everything() {
    World::tell(false, async |world| {
        world.open(40, 0);
        world.drain(Some(Part::Share(0.5)), WINDOW).await.unwrap();
        sleep(secs(15)).await;
        let asked = world.asked();
        assert!((1..=20).contains(&asked), "{asked} asked");
        assert!(matches!(
            world.drain(None, WINDOW).await,
            Ok(Answer::Started(_))
        ));
        let over = world.reaches(Phase::Drained).await;
        assert!(about(over, secs(15) + DEADLINE), "{over:?}");
        assert_eq!(world.report().part, None);
        assert_eq!(world.report().cut, 40);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_drain_of_a_share_can_be_cancelled_at_any_time() {
    World::tell(false, async |world| {
        world.open(40, 0);
        world.drain(Some(Part::Share(0.5)), WINDOW).await.unwrap();
        sleep(secs(10)).await;
        world.control.cancel(Some(Part::Share(1.0))).await.unwrap();
        let asked = world.asked();
        sleep(WINDOW).await;
        assert_eq!(world.asked(), asked, "nobody else is asked");
        assert_eq!(world.open_now(), 40, "and nobody is cut");
    })
    .await;
}

#[test]
fn a_deadline_moves_only_earlier() {
    let now = Instant::now();
    let (soon, late) = (Deadline::after(now, secs(1)), Deadline::after(now, secs(2)));
    assert_eq!(late.sooner(soon), soon);
    assert_eq!(soon.sooner(late), soon);
}

/// A platform's sign.
fn sign(reason: &str, looks_away: bool) -> Request {
    Request {
        trigger: Trigger::Platform(config::PlatformName::Aws),
        part: None,
        window: None,
        reason: Some(reason.to_owned()),
        looks_away,
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_sign_starts_the_drain_and_the_later_join_it() {
    World::tell(true, async |world| {
        let _hold = world.holds.take(Instant::now(), secs(10), "working");
        let looks_away = || {
            let view = world.phase.borrow();
            view.drain.as_ref().map(|drain| drain.looks_away)
        };
        let started = world.control.ask(sign("spot notice", false)).await;
        assert!(matches!(started, Ok(Answer::Started(_))), "{started:?}");
        assert_eq!(looks_away(), Some(false));
        sleep(secs(1)).await;
        let joined = world.control.ask(sign("target draining", true)).await;
        assert!(matches!(joined, Ok(Answer::UnderWay(_))), "{joined:?}");
        assert_eq!(looks_away(), Some(true));
        world.reaches(Phase::Drained).await;
        let report = world.report();
        let signs = report.signs.iter();
        let signs: Vec<_> = signs
            .map(|sign| (sign.reason.as_deref(), sign.at))
            .collect();
        assert_eq!(report.trigger, "aws");
        let expected = [("spot notice", secs(0)), ("target draining", secs(1))];
        assert_eq!(signs, expected.map(|(sign, at)| (Some(sign), at)));
        world.control.cut_now();
    })
    .await;
}
