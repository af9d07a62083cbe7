//! What a subject costs, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// Binds the calling thread, and whatever it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    spread(&[core])
}

/// Lets the calling thread, and whatever it starts from now on, run on any of these.
pub(crate) fn spread(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// The cores that this process may use.
pub(crate) fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Reads what a subject has cost.
pub(crate) struct Meter {
    pid: u32,
}

impl Meter {
    /// For the process, or the parent of those that the subject consists of.
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// What it costs while `work` is done.
    pub(crate) fn cpu_of<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
        let before = cpu(self.pid)?;
        let done = work()?;
        Ok((cpu(self.pid)?.saturating_sub(before), done))
    }

    /// The bytes of memory that it has written and shares with nobody, once two readings a tenth of a second
    /// apart agree. What the kernel holds for sockets is not among them.
    pub(crate) fn memory(&self) -> Result<u64> {
        memory(self.pid)
    }
}

/// The process and its children: nginx has its worker there.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut pids = vec![pid];
    for child in fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?.split_whitespace()
    {
        pids.push(child.parse()?);
    }
    Ok(pids)
}

/// The time that all threads of the process and its children have been on a core.
fn cpu(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for pid in family(pid)? {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            // The first of three figures: nanoseconds on a core.
            let spent: u64 = stat
                .split(' ')
                .next()
                .ok_or("schedstat is empty")?
                .parse()?;
            total += spent;
        }
    }
    Ok(Duration::from_nanos(total))
}

fn memory(pid: u32) -> Result<u64> {
    let give_up = Instant::now() + Duration::from_secs(5);
    let mut last = dirty(pid)?;
    loop {
        #[allow(
            clippy::disallowed_methods,
            reason = "a sample needs an interval, and no worker runs here"
        )]
        std::thread::sleep(Duration::from_millis(100));
        let now = dirty(pid)?;
        if now == last || Instant::now() > give_up {
            return Ok(now);
        }
        last = now;
    }
}

fn dirty(pid: u32) -> Result<u64> {
    let mut total = 0;
    for pid in family(pid)? {
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = smaps
            .lines()
            .find_map(|line| line.strip_prefix("Private_Dirty:"))
            .ok_or("smaps_rollup has no Private_Dirty")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        total += kib * 1024;
    }
    Ok(total)
}
