//! The drain: the phases and their table, who is asked to go and when, the report.
//!
//! It knows facts about sessions, and no sockets: what it decides goes out as orders to the
//! workers and as the phase that every room watches.

mod closing;
mod control;
mod course;
mod endpoint;
mod machine;
mod report;
mod retire;
mod run;
pub mod schedule;
#[cfg(test)]
mod tests;
mod windows;
mod witness;

pub use control::{Answer, Control, Refused, Request, Trigger, Wishes, channel};
pub use machine::{Event, next};
pub use report::{Going, KindReport, PhaseReport, Report, Sign};
pub use retire::Retirements;
pub use run::{Drain, Ended, Parts};
pub use windows::{Length, Windows};
pub use witness::{Entered, Heard, Witness};
