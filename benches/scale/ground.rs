//! What all questions have in common: the program, the cores, how many and how long.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;
use crate::measure::{cores, pin, spread};
use crate::rig::machine::two_cores;

/// Descriptors that are not a session's: listeners, readiness sets, pipes.
const RESERVED: u64 = 200;
/// The load has both of a session's ends, and so has the proxy.
const PER_SESSION: u64 = 2;

/// Where and how large.
pub(crate) struct Ground {
    pub(crate) lameduck: PathBuf,
    /// All cores that the bench may use.
    pub(crate) cores: Vec<usize>,
    load_core: usize,
    subject_core: usize,
    /// The most sessions.
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    /// The length of a turn.
    pub(crate) length: Duration,
    pub(crate) smoke: bool,
}

/// Which cores a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// One, and the load another: so that nothing but the process's own work is in its figures.
    Its,
    /// Whichever it gets, as the load.
    All,
}

impl Ground {
    pub(crate) fn new(
        lameduck: PathBuf,
        sessions: usize,
        rounds: usize,
        length: Duration,
        smoke: bool,
    ) -> Result<Self> {
        let (load_core, subject_core) = two_cores()?;
        let room = usize::try_from((descriptors()?.saturating_sub(RESERVED)) / PER_SESSION)?;
        if room < sessions {
            eprintln!("descriptors for {room} sessions only: ulimit -Hn is too low for {sessions}");
        }
        Ok(Self {
            lameduck,
            cores: cores()?,
            load_core,
            subject_core,
            sessions: sessions.min(room),
            rounds,
            length,
            smoke,
        })
    }

    /// As meant, or what is enough to see that it works.
    pub(crate) fn or_smoke<T>(&self, meant: T, smoke: T) -> T {
        if self.smoke { smoke } else { meant }
    }

    /// Does this while whatever is started gets the cores that it should have; the load is on its own behind it.
    pub(crate) fn starting<T>(&self, on: On, start: impl FnOnce() -> Result<T>) -> Result<T> {
        match on {
            On::Its => {
                pin(self.subject_core)?;
                let started = start();
                pin(self.load_core)?;
                started
            }
            On::All => {
                spread(&self.cores)?;
                start()
            }
        }
    }
}

/// Raises the limit on descriptors as far as it goes.
fn descriptors() -> Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(maximum.unwrap_or(u64::MAX))
}
