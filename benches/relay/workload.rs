//! The two workloads: messages for CPU, idle sessions for memory.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::Load;
use crate::measure::{cpu, memory, pin};
use crate::subject::{Relay, Subject};
use crate::wire::Protocol;

/// Sessions that are open and used before the first reading of memory, so that what a process sets up once
/// is not counted among what a session costs.
const SETTLED: usize = 200;

/// Who is measured, and on which cores.
pub(crate) struct Bed {
    pub(crate) relays: Vec<Relay>,
    pub(crate) lameduck: PathBuf,
    pub(crate) load_core: usize,
    pub(crate) subject_core: usize,
}

/// One turn of one subject.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Turn {
    /// CPU time of the subject for a message there and back, in nanoseconds.
    pub(crate) nanos_per_round_trip: f64,
    /// How many of them there were in a second.
    pub(crate) round_trips_per_second: f64,
}

/// The memory of one subject, in bytes.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Memory {
    /// With few sessions open.
    pub(crate) settled: u64,
    /// With all of them open.
    pub(crate) full: u64,
    /// The difference, for each session.
    pub(crate) per_session: f64,
}

impl Bed {
    /// Ping-pong. All subjects stay up, each with its own connections, and take turns, so that what disturbs the
    /// machine for a while disturbs all of them; the order moves on by one each round.
    pub(crate) fn cpu(
        &self,
        protocol: Protocol,
        connections: usize,
        rounds: usize,
        length: Duration,
    ) -> Result<Vec<(Relay, Vec<Turn>)>> {
        let mut running = Vec::new();
        for &relay in &self.relays {
            let (mut subject, mut load) = self.start(relay, protocol)?;
            load.open(connections)
                .map_err(|error| subject.blame(&*error))?;
            load.run(length / 4)
                .map_err(|error| subject.blame(&*error))?;
            running.push((relay, subject, load, Vec::new()));
        }
        for round in 0..rounds {
            running.rotate_left(usize::from(round > 0));
            for (_, subject, load, turns) in &mut running {
                let (start, before) = (Instant::now(), cpu(subject.pid())?);
                let trips = load.run(length).map_err(|error| subject.blame(&*error))?;
                let (spent, took) = (cpu(subject.pid())? - before, start.elapsed());
                turns.push(Turn {
                    nanos_per_round_trip: spent.as_secs_f64() * 1e9 / trips as f64,
                    round_trips_per_second: trips as f64 / took.as_secs_f64(),
                });
            }
        }
        running.sort_by_key(|(relay, ..)| Relay::ALL.iter().position(|other| other == relay));
        Ok(running
            .into_iter()
            .map(|(relay, _, _, turns)| (relay, turns))
            .collect())
    }

    /// Idle sessions: each has carried one message and then rests.
    pub(crate) fn memory(
        &self,
        protocol: Protocol,
        sessions: usize,
    ) -> Result<Vec<(Relay, Memory)>> {
        let mut rows = Vec::new();
        for &relay in &self.relays {
            let (mut subject, mut load) = self.start(relay, protocol)?;
            load.open(SETTLED).map_err(|error| subject.blame(&*error))?;
            let settled = memory(subject.pid())?;
            load.open(sessions)
                .map_err(|error| subject.blame(&*error))?;
            let full = memory(subject.pid())?;
            let per_session = (full as f64 - settled as f64) / sessions as f64;
            rows.push((
                relay,
                Memory {
                    settled,
                    full,
                    per_session,
                },
            ));
        }
        Ok(rows)
    }

    /// A subject on its core, and the load for it on this one.
    fn start(&self, relay: Relay, protocol: Protocol) -> Result<(Subject, Load)> {
        let agent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // A child has its parent's cores: so it is on its own from its first instruction.
        pin(self.subject_core)?;
        let subject = Subject::start(relay, protocol, agent.local_addr()?, &self.lameduck);
        pin(self.load_core)?;
        let subject = subject?;
        let load = Load::new(protocol, subject.address, agent)?;
        Ok((subject, load))
    }
}
