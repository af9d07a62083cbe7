//! The report of a drain, as it comes over the control API.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What became of everything. Moments are Unix seconds, lengths seconds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) trigger: String,
    /// What was drained, if not everything.
    pub(crate) part: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) started: f64,
    pub(crate) ended: f64,
    pub(crate) window: f64,
    pub(crate) phases: Vec<PhaseReport>,
    pub(crate) kinds: BTreeMap<String, KindReport>,
    pub(crate) served_while_lame_duck: u64,
    pub(crate) refused: u64,
    pub(crate) undelivered_bytes: BTreeMap<String, u64>,
    pub(crate) cut: u64,
    pub(crate) cut_sessions: Vec<CutReport>,
    /// What the proxy exits with.
    pub(crate) exit_code: u8,
}

/// One phase.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PhaseReport {
    pub(crate) phase: String,
    pub(crate) length: f64,
}

/// One kind's sessions.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KindReport {
    pub(crate) at_start: u64,
    pub(crate) outcomes: BTreeMap<String, u64>,
}

/// A session that was cut.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CutReport {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) client: String,
    pub(crate) age: f64,
    pub(crate) why: String,
}
