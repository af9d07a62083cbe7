//! The status: what the drain is doing, and what is open.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::session::{Kind, Phase, PhaseView};

use super::holds::HoldView;
use super::{Control, report};

/// Holds that are shown one by one.
const HOLDS_SHOWN: usize = 100;

/// The answer to `GET /v1/status`. Moments are Unix seconds, lengths seconds, both to the
/// millisecond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The phase's name.
    pub phase: String,
    /// Since when.
    pub since: f64,
    /// What started the drain; this and the next five only from its start until it is cancelled.
    pub trigger: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When it began.
    pub started: Option<f64>,
    /// The window it was given.
    pub window: Option<f64>,
    /// When it is over at the latest.
    pub deadline: Option<f64>,
    /// How long that still is.
    pub remaining: Option<f64>,
    /// Parts that are drained, or being drained, while the rest serves.
    pub parts: Vec<PartStatus>,
    /// Open sessions.
    pub open: u64,
    /// The same by listener and kind.
    pub sessions: BTreeMap<String, BTreeMap<String, u64>>,
    /// Open connections of clients, those without a session included.
    pub connections: u64,
    /// How many holds are live.
    pub holds_open: usize,
    /// The oldest of them.
    pub holds: Vec<HoldView>,
    /// What a drain that begins now has for a window, and who says so.
    pub next_window: f64,
    /// `configured`, `default`, or the one of [`Status::windows`] that holds.
    pub window_source: String,
    /// How long platforms are known to wait.
    pub windows: BTreeMap<String, f64>,
    /// What is known of the platforms that are on.
    pub platforms: BTreeMap<String, PlatformStatus>,
    /// What the process exits with, or would; from `drained` on.
    pub exit_code: Option<u8>,
    /// The version of the proxy.
    pub version: String,
}

/// What is known of a platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlatformStatus {
    /// Whether the last call of it went well.
    pub up: bool,
    /// What kept the last one from it that did not.
    pub error: Option<String>,
    /// What it has said, in its own words.
    pub known: BTreeMap<String, String>,
}

/// A part that is drained, or being drained, while the rest serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Which: `listener NAME`, or `share 25%`.
    pub part: String,
    /// Its phase's name.
    pub phase: String,
    /// Since when.
    pub since: f64,
    /// What started its drain.
    pub trigger: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// When it began.
    pub started: f64,
    /// The window it was given.
    pub window: f64,
    /// When it is over at the latest.
    pub deadline: f64,
    /// How long that still is.
    pub remaining: f64,
}

impl Status {
    /// What is known of a part, if it is not simply serving.
    pub fn part(&self, name: &str) -> Option<&PartStatus> {
        self.parts.iter().find(|part| part.part == name)
    }

    /// The open sessions by kind, over all listeners.
    pub fn kinds(&self) -> BTreeMap<&str, u64> {
        let mut kinds = BTreeMap::new();
        for (kind, open) in self.sessions.values().flatten() {
            *kinds.entry(kind.as_str()).or_default() += open;
        }
        kinds
    }
}

impl Control {
    /// The status of this moment.
    pub(super) fn status(&self) -> Status {
        let view = self.phase.borrow().clone();
        self.status_in(&view)
    }

    /// The status of this moment, but with the phase as it was when it was entered.
    pub fn status_in(&self, view: &PhaseView) -> Status {
        let totals = self.ledgers.totals();
        let now = Instant::now();
        let exit_code = (view.phase == Phase::Drained)
            .then(|| self.reports.borrow().clone())
            .flatten()
            .map(|report| report::exit_code(&report, &self.drain.borrow()));
        let listeners = self.roster.all().into_iter();
        let sessions = listeners.map(|(index, name)| {
            let totals = &totals.0[usize::from(index.0)];
            let kinds = Kind::ALL.iter();
            let open = kinds.map(|kind| (kind.label().to_owned(), totals.open(*kind)));
            (name.to_string(), open.collect())
        });
        let holds = self.holds.list(now);
        let drain = view.drain.as_ref();
        let next_window = self.windows.now();
        let windows = self.windows.known().into_iter();
        let windows = windows.map(|(source, length)| (source.to_string(), seconds(length)));
        let platforms = self.board.now().into_iter();
        let platforms = platforms.map(|(name, platform)| {
            let status = PlatformStatus {
                up: platform.up,
                error: platform.error,
                known: platform
                    .known
                    .into_iter()
                    .map(|(what, said)| (what.to_owned(), said))
                    .collect(),
            };
            (name.to_string(), status)
        });
        let parts = view.parts.iter().map(|view| PartStatus {
            part: view.name.to_string(),
            phase: view.phase.label().to_owned(),
            since: unix(view.since),
            trigger: view.drain.trigger.to_owned(),
            reason: view.drain.reason.as_deref().map(str::to_owned),
            started: unix(view.drain.started),
            window: seconds(view.drain.window),
            deadline: unix(view.drain.deadline.at()),
            remaining: seconds(view.drain.deadline.left(now)),
        });
        Status {
            phase: view.phase.label().to_owned(),
            since: unix(view.since),
            trigger: drain.map(|drain| drain.trigger.to_owned()),
            reason: drain.and_then(|drain| drain.reason.as_deref().map(str::to_owned)),
            started: drain.map(|drain| unix(drain.started)),
            window: drain.map(|drain| seconds(drain.window)),
            deadline: drain.map(|drain| unix(drain.deadline.at())),
            remaining: drain.map(|drain| seconds(drain.deadline.left(now))),
            parts: parts.collect(),
            open: totals.open(),
            sessions: sessions.collect(),
            connections: totals.connections(),
            holds_open: holds.len(),
            holds: holds.iter().take(HOLDS_SHOWN).map(HoldView::of).collect(),
            next_window: seconds(next_window.length),
            window_source: next_window.source.to_string(),
            windows: windows.collect(),
            platforms: platforms.collect(),
            exit_code,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A length in seconds, to the millisecond.
pub(super) fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// A moment in Unix seconds, to the millisecond.
pub(super) fn unix(at: Instant) -> f64 {
    let (clock, now) = (SystemTime::now(), Instant::now());
    let at = if at >= now {
        clock + (at - now)
    } else {
        clock - (now - at)
    };
    seconds(
        at.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
