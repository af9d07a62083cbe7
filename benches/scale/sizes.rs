//! How large the program is, and how soon it is ready.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Result;
use crate::ground::{Ground, On};
use crate::proxy::get;
use crate::rig::child::{START, agent_listener, free_address};
use crate::rig::lameduck::{Start, command};
use crate::stats::{at, shown};
use crate::table::Table;
use crate::task::{pause, resident};

/// How often it is looked whether it is ready: what this takes is no part of the process's own time.
const LOOK: Duration = Duration::from_micros(200);

/// One start.
struct Began {
    /// From the call that starts it to the first 200.
    ready: Duration,
    /// The memory in use then.
    resident: u64,
}

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let mut starts = Vec::new();
    for _ in 0..ground.or_smoke(20, 2) {
        starts.push(ground.starting(On::All, || start(ground))?);
    }
    let size = fs::metadata(&ground.lameduck)?.len() as f64 / 1e6;
    let millis = |share| {
        at(
            starts.iter().map(|start| start.ready.as_secs_f64() * 1e3),
            share,
        )
    };
    let memory = at(starts.iter().map(|start| start.resident as f64 / 1e6), 0.5);
    let mut table = Table::of_figures(format!(
        "Sizes, with all defaults; medians of {} starts",
        starts.len()
    ));
    table.below("binary, as shipped", "MB", size, 15.0);
    table.below("memory in use (RSS) when ready", "MB", memory, 12.0);
    table.below("from exec to ready", "ms", millis(0.5), 50.0);
    table.told("from exec to ready: slowest", "ms", shown(millis(1.0)));
    Ok(table)
}

fn start(ground: &Ground) -> Result<Began> {
    let agent = agent_listener()?;
    let health = free_address()?;
    let mut command = command(Start {
        program: &ground.lameduck,
        scheme: "http",
        agent: agent.local_addr()?,
        workers: None,
        health,
    });
    let begun = Instant::now();
    let mut process = command.stderr(Stdio::null()).spawn()?;
    let ready = loop {
        match get(health, "/readyz") {
            Ok(_) => break Ok(begun.elapsed()),
            Err(error) if begun.elapsed() > START => break Err(error),
            Err(_) => pause(LOOK),
        }
    };
    let resident = resident(process.id());
    process.kill()?;
    process.wait()?;
    Ok(Began {
        ready: ready?,
        resident: resident?,
    })
}
