//! The report of the last drain, as it is shown here.

use serde::Serialize;

use crate::config;
use crate::drain::Report;

/// The report, and what the process would exit with.
#[derive(Debug, Serialize)]
pub(super) struct Whole<'r> {
    #[serde(flatten)]
    report: &'r Report,
    exit_code: u8,
}

impl Whole<'_> {
    /// The whole of a report.
    pub(super) fn of<'r>(report: &'r Report, drain: &config::Drain) -> Whole<'r> {
        Whole {
            report,
            exit_code: exit_code(report, drain),
        }
    }
}

/// What the process exits with after this drain.
pub(super) fn exit_code(report: &Report, drain: &config::Drain) -> u8 {
    if report.cut > 0 {
        drain.exit_code_when_cut
    } else {
        0
    }
}
