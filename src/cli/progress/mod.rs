//! How a drain goes, for who watches it: a screen that is rewritten, or a line a second.

mod display;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::client::Report;
use super::drain::Meant;
use super::words::{counted, length, printable, shortened};
use crate::admin::control::{PartStatus, Status};

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

/// Two moments of the same thing, told twice, are no further apart, in seconds.
const SAME_TIME: f64 = 0.1;

/// How far a drain has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'p> {
    pub(super) phase: &'p str,
    pub(super) remaining: Option<f64>,
    window: Option<f64>,
    trigger: Option<&'p str>,
    reason: Option<&'p str>,
}

/// What is known of a proxy, and was before.
#[derive(Debug)]
pub(super) struct Progress {
    status: Status,
    /// What is watched, if not everything.
    part: Option<Meant>,
    /// When the drain of that part began, as far as it was seen.
    begun: Option<f64>,
    as_of: Instant,
    /// The most that were open of each kind.
    most: BTreeMap<String, u64>,
    /// How many were open when.
    before: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// The first that is known.
    pub(super) fn new(status: Status, part: Option<Meant>, now: Instant) -> Progress {
        let mut progress = Progress {
            status: status.clone(),
            part,
            begun: None,
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
        self.begun = self.watched().map(|part| part.started).or(self.begun);
    }

    fn watched(&self) -> Option<&PartStatus> {
        let meant = self.part.as_ref()?;
        self.status.parts.iter().find(|part| meant.is(&part.part))
    }

    /// Whether a report's part is what is watched.
    pub(super) fn is_of(&self, part: Option<&str>) -> bool {
        match (&self.part, part) {
            (None, None) => true,
            (Some(meant), Some(part)) => meant.is(part),
            _ => false,
        }
    }

    /// Whether this is the report of the very drain that is watched.
    pub(super) fn is_told_by(&self, report: &Report) -> bool {
        let same_time = |begun: f64| (begun - report.started).abs() < SAME_TIME;
        self.is_of(report.part.as_deref()) && self.begun.is_some_and(same_time)
    }

    /// How far what is watched has come.
    pub(super) fn stage(&self) -> Stage<'_> {
        let status = &self.status;
        match (&self.part, self.watched()) {
            (None, _) => Stage {
                phase: &status.phase,
                remaining: status.remaining,
                window: status.window,
                trigger: status.trigger.as_deref(),
                reason: status.reason.as_deref(),
            },
            (Some(_), Some(part)) => Stage {
                phase: &part.phase,
                remaining: Some(part.remaining),
                window: Some(part.window),
                trigger: Some(&part.trigger),
                reason: part.reason.as_deref(),
            },
            (Some(_), None) => Stage {
                phase: match status.phase.as_str() {
                    "starting" => "starting",
                    _ => "serving",
                },
                remaining: None,
                window: None,
                trigger: None,
                reason: None,
            },
        }
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
        Some((self.stage().remaining? - since).max(0.0))
    }

    /// The phase, and what is left of the window.
    fn head(&self, now: Instant) -> String {
        let stage = self.stage();
        let mut head = match self.watched() {
            Some(part) => format!("{} {}", printable(&part.part), stage.phase),
            None => stage.phase.to_owned(),
        };
        if let (Some(left), Some(window)) = (self.left(now), stage.window)
            && stage.phase != "drained"
        {
            head += &format!(", {} left of {}", length(left), length(window));
        }
        if let Some(trigger) = stage.trigger {
            head += &format!(", by {trigger}");
        }
        if let Some(reason) = stage.reason {
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
        let mut line = self.stage().phase.to_owned();
        if let Some(left) = self.left(now)
            && self.stage().phase != "drained"
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
