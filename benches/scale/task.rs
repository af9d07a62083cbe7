//! What the kernel tells of a process and its threads.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::Result;

/// `USER_HZ`, which is this on every architecture that Rust runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// A thread, as it was at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    /// The time it has been on a core.
    pub(crate) on_core: Duration,
    /// How often it has given its core away, to wait for something.
    pub(crate) waits: u64,
}

/// The threads of a process, by id.
pub(crate) fn threads(pid: u32) -> Result<BTreeMap<u32, Thread>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let id = task.file_name().to_string_lossy().parse()?;
        let file = |name: &str| fs::read_to_string(task.path().join(name));
        let on_core = file("schedstat")?;
        let on_core = on_core.split(' ').next().ok_or("schedstat is empty")?;
        let thread = Thread {
            name: file("comm")?.trim().to_owned(),
            on_core: Duration::from_nanos(on_core.parse()?),
            waits: field(&file("status")?, "voluntary_ctxt_switches:")?,
        };
        threads.insert(id, thread);
    }
    Ok(threads)
}

/// The memory that a process has in use, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(field(&status, "VmRSS:")? * 1024)
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or_else(|| format!("no {name} in status"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The CPU seconds of a process with all its threads, those that are gone too; and whether it has ended.
pub(crate) fn spent(pid: u32) -> Result<(f64, bool)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which is the only field that may have spaces in it: the third field of all is first.
    let (_, fields) = stat.rsplit_once(')').ok_or("stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (user, system): (u32, u32) = (fields[11].parse()?, fields[12].parse()?);
    let seconds = f64::from(user + system) / TICKS_A_SECOND;
    Ok((seconds, fields[0] == "Z"))
}

/// The same, once it has ended. Nobody may have waited for it yet, since its figures go with it.
pub(crate) fn spent_at_end(pid: u32, patience: Duration) -> Result<f64> {
    let give_up = Instant::now() + patience;
    loop {
        match spent(pid)? {
            (seconds, true) => return Ok(seconds),
            _ if Instant::now() > give_up => return Err("the process does not end".into()),
            _ => pause(Duration::from_millis(5)),
        }
    }
}

/// Waits where nobody tells when to look again.
#[allow(
    clippy::disallowed_methods,
    reason = "a sample needs an interval, and no worker runs here"
)]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
