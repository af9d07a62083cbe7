//! The report of a drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::session::{
    CutSession, Direction, Facts, Gone, Holding, Kind, Outcome, Phase, Refusal, Totals,
};

use super::control::Request;

/// Cut sessions that are told one by one.
const CUT_LISTED: usize = 100;
/// Signs that are told one by one.
const SIGNS_LISTED: usize = 32;

/// What became of everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What started it.
    pub trigger: &'static str,
    /// What was drained, if not everything.
    pub part: Option<String>,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// What was heard that the process should go, the first and what joined it, in order.
    pub signs: Vec<Sign>,
    /// When it began, in Unix seconds.
    #[serde(serialize_with = "unix_seconds")]
    pub started: SystemTime,
    /// When it was over, in Unix seconds.
    #[serde(serialize_with = "unix_seconds")]
    pub ended: SystemTime,
    /// The window it had, in seconds.
    #[serde(serialize_with = "seconds")]
    pub window: Duration,
    /// The phases, in their order.
    pub phases: Vec<PhaseReport>,
    /// By kind: what was open at the start, and how what ended since has ended.
    pub kinds: BTreeMap<&'static str, KindReport>,
    /// Sessions that were taken while lame duck.
    pub served_while_lame_duck: u64,
    /// Sessions that were refused because of the drain.
    pub refused: u64,
    /// Bytes that could not be delivered, by direction.
    pub undelivered_bytes: BTreeMap<&'static str, u64>,
    /// How long sessions took from being asked to go to being gone.
    pub going: Going,
    /// How many sessions were cut.
    pub cut: u64,
    /// The first of them, one by one.
    pub cut_sessions: Vec<CutReport>,
}

/// Something that said that the process should go.
#[derive(Clone, Debug, Serialize)]
pub struct Sign {
    /// Where it came from.
    pub trigger: &'static str,
    /// What it was.
    pub reason: Option<String>,
    /// Seconds from the start of the drain.
    #[serde(serialize_with = "seconds")]
    pub at: Duration,
}

/// One phase of a drain.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// Its name.
    pub phase: &'static str,
    /// Seconds from the start of the drain to its own.
    #[serde(serialize_with = "seconds")]
    pub start: Duration,
    /// Its length in seconds.
    #[serde(serialize_with = "seconds")]
    pub length: Duration,
}

/// One kind's sessions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KindReport {
    /// Open when the drain began.
    pub at_start: u64,
    /// Ended since, by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// How long sessions took from being asked to go to being gone, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Going {
    /// Half of them took no longer.
    #[serde(serialize_with = "seconds")]
    pub median: Duration,
    /// The longest.
    #[serde(serialize_with = "seconds")]
    pub longest: Duration,
}

impl Going {
    fn of(mut took: Vec<Duration>) -> Going {
        took.sort_unstable();
        Going {
            median: took.get(took.len() / 2).copied().unwrap_or_default(),
            longest: took.last().copied().unwrap_or_default(),
        }
    }
}

/// A session that was cut.
#[derive(Clone, Debug, Serialize)]
pub struct CutReport {
    /// Its id.
    pub id: String,
    /// What it was.
    pub kind: &'static str,
    /// The client's address, as the connection has it.
    pub client: SocketAddr,
    /// How long it had been open, in seconds.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// What it had not done.
    pub why: &'static str,
}

fn seconds<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((length.as_secs_f64() * 1_000.0).round() / 1_000.0)
}

fn unix_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    seconds(&since, serializer)
}

/// What is noted along the way.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) started: SystemTime,
    pub(super) before: Totals,
    signs: Vec<Sign>,
    pub(super) lame_duck_ended: Option<u64>,
    /// By kind, how many had to go, where it is not everybody.
    chosen: Option<[u64; Kind::COUNT]>,
    pub(super) phases: Vec<(Phase, Duration)>,
    pub(super) gone: Gone,
    /// How long the whole drain took.
    pub(super) over: Duration,
}

impl Notes {
    pub(super) fn new(before: Totals, request: &Request) -> Notes {
        let started = SystemTime::now();
        let mut notes = Notes {
            started,
            before,
            signs: Vec::new(),
            lame_duck_ended: None,
            chosen: None,
            phases: Vec::new(),
            gone: Gone::default(),
            over: Duration::ZERO,
        };
        notes.sign(request, Duration::ZERO);
        notes
    }

    /// Notes what says that the process should go. Of somebody who repeats itself without end the
    /// first words are enough.
    pub(super) fn sign(&mut self, request: &Request, at: Duration) {
        if self.signs.len() < SIGNS_LISTED {
            self.signs.push(Sign {
                trigger: request.trigger.label(),
                reason: request.reason.clone(),
                at,
            });
        }
    }

    /// Notes who has to go, where it is not everybody.
    pub(super) fn choose(&mut self, chosen: &[Facts]) {
        let mut counts = [0; Kind::COUNT];
        for facts in chosen {
            if let Holding::Session(kind) = facts.holding {
                counts[kind.index()] += 1;
            }
        }
        self.chosen = Some(counts);
        self.lame_duck_ended = Some(self.before.opened());
    }

    /// What became of a kind's sessions.
    fn of_kind(&self, kind: Kind, after: &Totals) -> KindReport {
        let ended = |outcome| {
            let before = self.before.ended(kind, outcome);
            after.ended(kind, outcome).saturating_sub(before)
        };
        let Some(chosen) = &self.chosen else {
            let outcomes = Outcome::ALL.iter();
            return KindReport {
                at_start: self.before.open_of(kind),
                outcomes: outcomes.map(|how| (how.label(), ended(*how))).collect(),
            };
        };
        // Nobody but the chosen is asked to go meanwhile; who of them went unasked is the rest.
        let at_start = chosen[kind.index()];
        let closed = ended(Outcome::Closed).min(at_start);
        let cut = ended(Outcome::Cut).min(at_start - closed);
        let outcomes = [
            (Outcome::Closed, closed),
            (Outcome::Cut, cut),
            (Outcome::Finished, at_start - closed - cut),
        ];
        KindReport {
            at_start,
            outcomes: outcomes.map(|(how, count)| (how.label(), count)).into(),
        }
    }

    /// Makes the report.
    pub(super) fn report(
        &self,
        request: &Request,
        part: Option<String>,
        window: Duration,
        after: &Totals,
    ) -> Report {
        let Notes {
            started,
            before,
            signs,
            lame_duck_ended,
            phases,
            gone,
            over,
            ..
        } = self;
        let since = |f: &dyn Fn(&Totals) -> u64| f(after).saturating_sub(f(before));
        let kinds = Kind::ALL
            .iter()
            .map(|kind| (kind.label(), self.of_kind(*kind, after)));
        let ends = phases
            .iter()
            .skip(1)
            .map(|(_, start)| *start)
            .chain([*over]);
        let phase_reports = phases
            .iter()
            .zip(ends)
            .map(|((phase, start), end)| PhaseReport {
                phase: phase.label(),
                start: *start,
                length: end.saturating_sub(*start),
            });
        let undelivered = Direction::ALL.iter().map(|direction| {
            (
                direction.label(),
                since(&|totals: &Totals| totals.undelivered(*direction)),
            )
        });
        let going = Going::of(gone.took.clone());
        let opened = (*lame_duck_ended).unwrap_or_else(|| after.opened());
        Report {
            trigger: request.trigger.label(),
            part,
            reason: request.reason.clone(),
            signs: signs.clone(),
            started: *started,
            ended: *started + *over,
            window,
            phases: phase_reports.collect(),
            kinds: kinds.collect(),
            served_while_lame_duck: opened.saturating_sub(before.opened()),
            refused: since(&|totals: &Totals| totals.refused(Refusal::Draining)),
            undelivered_bytes: undelivered.collect(),
            cut: since(&|totals: &Totals| {
                Kind::ALL
                    .iter()
                    .map(|kind| totals.ended(*kind, Outcome::Cut))
                    .sum()
            }),
            going,
            cut_sessions: gone.cut.iter().take(CUT_LISTED).map(cut_report).collect(),
        }
    }
}

fn cut_report(cut: &CutSession) -> CutReport {
    let kind = match cut.facts.holding {
        Holding::Session(kind) => kind.label(),
        Holding::Nothing => "none",
    };
    CutReport {
        id: cut.facts.id.to_string(),
        kind,
        client: cut.facts.client,
        age: cut.facts.age,
        why: cut.why,
    }
}
