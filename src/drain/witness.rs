//! Who hears of a drain as it goes, from the drain's own thread: nobody, unless somebody asked.

use std::collections::HashSet;
use std::fmt;

use tokio::sync::mpsc;

use crate::session::{Facts, PhaseView, SessionId};

use super::report::Report;

/// Hears of every phase as it is entered.
///
/// Whoever watches the phase from another thread may miss one that was short, and comes too late
/// to take a hold before the drain looks for holds.
pub type Entered = Box<dyn Fn(&PhaseView) + Send>;

/// Hears of the end of a drain of everything.
pub type Heard = Box<dyn Fn(&Report) + Send>;

/// What is heard.
#[derive(Default)]
pub struct Witness {
    /// Phases.
    pub entered: Option<Entered>,
    /// Sessions that are asked to go.
    pub asked: Option<mpsc::UnboundedSender<Vec<Facts>>>,
    /// Reports.
    pub over: Option<Heard>,
}

impl Witness {
    /// Tells of a phase that has begun.
    pub(super) fn enter(&self, view: &PhaseView) {
        if let Some(entered) = &self.entered {
            entered(view);
        }
    }

    /// Tells what became of everything.
    pub(super) fn report(&self, report: &Report) {
        if let Some(over) = &self.over {
            over(report);
        }
    }

    /// Whether anybody wants to hear who is asked to go.
    pub(super) fn wants_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Tells which of the sessions in `facts` are asked to go.
    pub(super) fn tell_asked(&self, facts: &[Facts], ids: &[SessionId]) {
        let Some(asked) = &self.asked else { return };
        let ids: HashSet<_> = ids.iter().collect();
        let told = facts
            .iter()
            .filter(|facts| facts.is_session() && ids.contains(&facts.id));
        let told: Vec<_> = told.cloned().collect();
        if !told.is_empty() {
            // Whoever has stopped listening need not hear.
            let _ = asked.send(told);
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}
