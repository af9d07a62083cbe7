//! A file that starts a drain, and a command that hears of its end.

mod command;
mod file;

use crate::config::PlatformName;
use crate::config::platform::Other;

use super::desk::{Desk, Desks};
use super::platform::{Completion, Platform, Trigger};

use command::OnDrained;
use file::DrainFile;

/// The platform, with what triggers drains and what is told of their end.
pub(super) fn platform(settings: &Other, desks: &Desks) -> Platform {
    let desk = Desk::new(PlatformName::Other, desks, None);
    let mut triggers: Vec<Box<dyn Trigger>> = Vec::new();
    match &settings.drain_file {
        Some(path) => triggers.push(Box::new(DrainFile::new(path.clone(), settings.poll))),
        None => desk.needs_no_call(),
    }
    let mut completions: Vec<Box<dyn Completion>> = Vec::new();
    if let Some(words) = &settings.on_drained {
        let limit = settings.on_drained_timeout;
        completions.push(Box::new(OnDrained::new(words.clone(), limit)));
    }
    Platform {
        desk,
        triggers,
        completions,
    }
}
