//! How a drain goes, for who watches it: a screen that is rewritten, or a line a second.

mod display;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::words::{counted, length, printable, shortened};
use crate::admin::control::Status;

pub(super) use display::Display;
pub(super) use table::report_table;

/// What the rate of leaving is taken over.
const RATE_OVER: Duration = Duration::from_secs(5);
/// The width of a bar, in characters.
const BAR: u64 = 30;
/// No line is longer: one that wraps could not be rewritten.
const WIDTH: usize = 78;
/// Holds that have a line of their own.
const HOLDS: usize = 3;

/// What is known of a proxy, and was before.
#[derive(Debug)]
pub(super) struct Progress {
    status: Status,
    as_of: Instant,
    /// The most that were open of each kind.
    most: BTreeMap<String, u64>,
    /// How many were open when.
    before: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// The first that is known.
    pub(super) fn new(status: Status, now: Instant) -> Progress {
        let mut progress = Progress {
            status: status.clone(),
            as_of: now,
            most: BTreeMap::new(),
            before: VecDeque::new(),
        };
        progress.update(status, now);
        progress
    }

    /// Something newer.
    pub(super) fn update(&mut self, status: Status, now: Instant) {
        for (kind, open) in status.kinds() {
            let most = self.most.entry(kind.to_owned()).or_default();
            *most = open.max(*most);
        }
        self.before.push_back((now, status.open));
        (self.status, self.as_of) = (status, now);
    }

    /// The newest that is known.
    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// Forgets what is too old for the rate, but for the last such.
    fn forget(&mut self, now: Instant) {
        let old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) > RATE_OVER;
        while self.before.get(1).is_some_and(old) {
            self.before.pop_front();
        }
    }

    /// How many leave a second.
    fn rate(&self, now: Instant) -> f64 {
        let Some((at, open)) = self.before.front() else {
            return 0.0;
        };
        let over = now
            .saturating_duration_since(*at)
            .min(RATE_OVER)
            .as_secs_f64();
        let gone = open.saturating_sub(self.status.open);
        // Less than a tenth of a second tells nothing.
        if over < 0.1 { 0.0 } else { gone as f64 / over }
    }

    fn left(&self, now: Instant) -> Option<f64> {
        let since = now.saturating_duration_since(self.as_of).as_secs_f64();
        Some((self.status.remaining? - since).max(0.0))
    }

    /// The phase, and what is left of the window.
    fn head(&self, now: Instant) -> String {
        let status = &self.status;
        let mut head = status.phase.clone();
        if let (Some(left), Some(window)) = (self.left(now), status.window)
            && status.phase != "drained"
        {
            head += &format!(", {} left of {}", length(left), length(window));
        }
        if let Some(trigger) = &status.trigger {
            head += &format!(", by {trigger}");
        }
        if let Some(reason) = &status.reason {
            head += &format!(": {}", printable(reason));
        }
        shortened(&head, WIDTH)
    }

    /// All of it, on several lines.
    pub(super) fn screen(&mut self, now: Instant) -> Vec<String> {
        self.forget(now);
        let mut lines = vec![self.head(now)];
        let kinds = self.status.kinds();
        for (kind, most) in self.most.iter().filter(|(_, most)| **most > 0) {
            let open = kinds.get(kind.as_str()).copied().unwrap_or_default();
            let full = (open * BAR).div_ceil(*most);
            let bar: String = (0..BAR)
                .map(|at| if at < full { '#' } else { '.' })
                .collect();
            lines.push(format!("  {kind:<10} [{bar}] {open} of {most} open"));
        }
        lines.push(format!(
            "  {} open, {:.0} leaving a second; {}",
            counted(self.status.open, "session"),
            self.rate(now),
            counted(self.status.connections, "connection"),
        ));
        for hold in self.status.holds.iter().take(HOLDS) {
            lines.push(shortened(
                &format!("  hold {}: {}", hold.id, printable(&hold.reason)),
                WIDTH,
            ));
        }
        if self.status.holds_open > HOLDS {
            lines.push(format!(
                "  and {} more holds",
                self.status.holds_open - HOLDS
            ));
        }
        lines
    }

    /// All of it, on one line.
    pub(super) fn line(&mut self, now: Instant) -> String {
        self.forget(now);
        let status = &self.status;
        let mut line = status.phase.clone();
        if let Some(left) = self.left(now)
            && status.phase != "drained"
        {
            line += &format!(": {} left", length(left));
        }
        line += &format!(", {} open", counted(status.open, "session"));
        let kinds = status.kinds();
        let kinds = kinds.iter().filter(|(_, open)| **open > 0);
        let kinds: Vec<_> = kinds.map(|(kind, open)| format!("{kind} {open}")).collect();
        if !kinds.is_empty() {
            line += &format!(" ({})", kinds.join(", "));
        }
        line += &format!(", {:.0} leaving a second", self.rate(now));
        if status.holds_open > 0 {
            line += &format!(", {}", counted(status.holds_open as u64, "hold"));
        }
        line
    }
}

#[cfg(test)]
mod tests;
