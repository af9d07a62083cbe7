//! The tables of BENCHMARKS.md.

use std::fmt::Write;
use std::path::Path;

use crate::Result;
use crate::report::{Outcome, Report};
use crate::rig::section;
use crate::stats::{median, middle_half, shown};
use crate::subject::Relay;

/// Puts the tables between the markers of the file.
pub(crate) fn write(report: &Report, file: &Path) -> Result<()> {
    section::write(file, "figures", &tables(report)?)
}

fn tables(report: &Report) -> Result<String> {
    let mut out = String::new();
    write!(
        out,
        "{}; {} turns of {} s (longer where a workload needs it). ",
        report.machine, report.rounds, report.seconds_a_turn
    )?;
    let versions = report.subjects.iter().map(|(relay, version)| match relay {
        Relay::Floor => "the floor of this bench".to_owned(),
        other => format!("{other} {version}"),
    });
    writeln!(
        out,
        "Subjects: {}.\n",
        versions.collect::<Vec<_>>().join(", ")
    )?;
    let relays: Vec<Relay> = report.subjects.iter().map(|(relay, _)| *relay).collect();
    for compared in [true, false] {
        let word = if compared {
            "what is compared"
        } else {
            "beside it"
        };
        write!(out, "| {word} | unit |")?;
        for relay in &relays {
            write!(out, " {relay} |")?;
        }
        let ratios = if compared {
            " x floor | x best peer |"
        } else {
            ""
        };
        write!(
            out,
            "{ratios}\n| --- | --- |{}",
            " --- |".repeat(relays.len())
        )?;
        writeln!(out, "{}", if compared { " --- | --- |" } else { "" })?;
        for outcome in &report.results {
            for figure in 0..outcome.figures.len() {
                if outcome.figures[figure].compared == compared {
                    row(&mut out, outcome, figure, &relays)?;
                }
            }
        }
        writeln!(out)?;
    }
    Ok(out)
}

fn row(out: &mut String, outcome: &Outcome, figure: usize, relays: &[Relay]) -> Result<()> {
    let about = &outcome.figures[figure];
    write!(
        out,
        "| {}: {} | {} |",
        outcome.workload, about.name, about.unit
    )?;
    for relay in relays {
        match outcome.of(*relay) {
            Some(turns) if turns.len() > 1 => {
                let (low, high) = middle_half(turns, figure);
                let half = shown((high - low) / 2.0);
                write!(out, " {} ± {half} |", shown(median(turns, figure)))?;
            }
            Some(turns) => write!(out, " {} |", shown(median(turns, figure)))?,
            None => write!(out, " |")?,
        }
    }
    if about.compared {
        let floor = outcome.times(Relay::Lameduck, Some(Relay::Floor), figure);
        let best = outcome.best(figure);
        let times = outcome.times(Relay::Lameduck, best, figure);
        let best = best.map_or(String::new(), |best| format!(" ({best})"));
        write!(out, " {} | {}{best} |", shown(floor), shown(times))?;
    }
    Ok(writeln!(out)?)
}
