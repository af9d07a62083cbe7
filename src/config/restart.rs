//! What a running process cannot take over from a new configuration.

use super::finding::{Finding, Severity};
use super::types::Config;

/// The keys that differ and hold from the start of the process to its end. None if `new` can take
/// the place of `old`.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<Finding> {
    let fixed = [
        ("workers", old.workers == new.workers),
        ("health", old.health == new.health),
        ("admin", old.admin == new.admin),
        ("log", old.log == new.log),
        ("access_log", old.access_log == new.access_log),
        ("platform", old.platforms == new.platforms),
        ("drain.hooks", old.drain.hooks == new.drain.hooks),
        (
            "drain.window",
            old.drain.window.auto == new.drain.window.auto,
        ),
    ];
    let changed = fixed.into_iter().filter(|(_, same)| !same);
    let finding = |(key, _): (&str, bool)| Finding {
        severity: Severity::Error,
        key: key.to_owned(),
        place: None,
        what: "it was changed, and holds for as long as the process lives".to_owned(),
        help: "take the change back, or start a new process".to_owned(),
    };
    changed.map(finding).collect()
}
