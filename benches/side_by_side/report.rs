//! The results, as tables on stdout and as JSON under the target directory.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::Result;
use crate::bed::Turns;
use crate::rig::machine::Machine;
use crate::stats::{median, middle_half, ratio, shown};
use crate::subject::Relay;
use crate::workload::{Figure, Workload};

/// Everything that a run has found.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) seconds_a_turn: f64,
    pub(crate) subjects: Vec<(Relay, String)>,
    pub(crate) results: Vec<Outcome>,
}

/// What one workload has shown.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) workload: String,
    pub(crate) title: String,
    pub(crate) figures: &'static [Figure],
    pub(crate) turns: Vec<(Relay, Turns)>,
}

impl Outcome {
    pub(crate) fn new(workload: &Workload, turns: Vec<(Relay, Turns)>) -> Self {
        Self {
            workload: workload.name.clone(),
            title: workload.title.clone(),
            figures: workload.figures,
            turns,
        }
    }

    /// The turns of one subject.
    pub(crate) fn of(&self, relay: Relay) -> Option<&Turns> {
        let found = self.turns.iter().find(|(other, _)| *other == relay);
        found.map(|(_, turns)| turns)
    }

    /// The best peer in this figure.
    pub(crate) fn best(&self, figure: usize) -> Option<Relay> {
        let peers = self.turns.iter().filter(|(relay, _)| relay.is_peer());
        peers
            .min_by(|(_, a), (_, b)| median(a, figure).total_cmp(&median(b, figure)))
            .map(|(relay, _)| *relay)
    }

    /// How many times the other's figure a subject's is.
    pub(crate) fn times(&self, relay: Relay, to: Option<Relay>, figure: usize) -> f64 {
        match (self.of(relay), to.and_then(|to| self.of(to))) {
            (Some(turns), Some(to)) => ratio(turns, to, figure),
            _ => f64::NAN,
        }
    }

    fn print(&self) {
        println!("\n{}: {}", self.workload, self.title);
        for (at, figure) in self.figures.iter().enumerate() {
            let Figure {
                name,
                unit,
                compared,
            } = figure;
            let heading = format!("{name}, {unit}");
            let (floor, best) = match compared {
                true => ("x floor", "x best peer"),
                false => ("", ""),
            };
            println!(
                "  {heading:<28}{:>10}{:>20}{floor:>10}{best:>13}",
                "median", "middle half"
            );
            for (relay, turns) in &self.turns {
                let (low, high) = middle_half(turns, at);
                let (mut floor, mut best) = (String::new(), String::new());
                if *compared {
                    floor = shown(self.times(*relay, Some(Relay::Floor), at));
                    best = shown(self.times(*relay, self.best(at), at));
                }
                println!(
                    "    {relay:<26}{:>10}{:>20}{floor:>10}{best:>13}",
                    shown(median(turns, at)),
                    format!("{} to {}", shown(low), shown(high)),
                );
            }
        }
    }
}

impl Report {
    /// Shows where and with whom this is.
    pub(crate) fn print_head(&self) {
        println!("{}", self.machine);
        for (relay, version) in &self.subjects {
            println!("  {relay:<12}{version}");
        }
    }

    /// Shows and keeps what a workload has shown.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        outcome.print();
        self.results.push(outcome);
    }

    /// Writes all of it; returns where.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("side_by_side.json");
        fs::write(&path, serde_json::to_string_pretty(self)?)?;
        Ok(path)
    }
}
