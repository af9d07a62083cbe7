//! Whether threads wait for one another while messages are relayed.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Keep, Message, Protocol};
use crate::proxy::{Proxy, Setup};
use crate::stats::shown;
use crate::table::Table;
use crate::task::threads;

const WORKERS: usize = 2;

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let setup = Setup {
        protocol: Protocol::WebSocket,
        workers: WORKERS,
        on: On::All,
        window: None,
    };
    let (proxy, mut lanes) = Proxy::start(ground, setup)?;
    let message: Rc<dyn Exchange> = Rc::new(Message::new(Protocol::WebSocket));
    let sessions = ground.sessions.min(1000);
    lanes.open(sessions, &message, Keep::Open, Duration::from_secs(1))?;
    lanes.run(ground.length)?;
    // Apart from the counting, which may stop the process at each call.
    let before = threads(proxy.pid())?;
    let thousands = 2.0 * lanes.run(ground.length * 4)? as f64 / 1e3;
    let after = threads(proxy.pid())?;
    let seconds = ground.or_smoke(5, 1);
    let mut counter = Counter::start(proxy.pid(), seconds);
    let (start, mut answers) = (Instant::now(), 0);
    // It takes a moment to begin; there are messages for as long as it lasts.
    while start.elapsed() < Duration::from_secs(seconds) || !counter.is_done()? {
        answers += lanes.run(ground.length)?;
    }
    let a_second = 2.0 * answers as f64 / 1e3 / start.elapsed().as_secs_f64();
    let thousands_counted = a_second * seconds as f64;
    let (how, calls) = counter.read()?;
    let mut table = Table::new(
        format!("Locks: {sessions} WebSockets that chat, {WORKERS} workers; futex calls by {how}"),
        [
            "for 1,000 messages of the process",
            "futex calls",
            "waits of any kind",
        ],
    );
    for (id, thread) in &after {
        let waits = thread.waits - before.get(id).map_or(0, |thread| thread.waits);
        let calls = calls.as_ref().map_or_else(
            || "-".to_owned(),
            |calls| shown(calls.get(id).copied().unwrap_or(0) as f64 / thousands_counted),
        );
        table.row([
            format!("{} {}", thread.name, id - proxy.pid()),
            calls,
            shown(waits as f64 / thousands),
        ]);
    }
    Ok(table)
}

/// What counts futex calls while messages are relayed.
enum Counter {
    /// The kernel's tracepoint, which costs next to nothing.
    Perf(Child),
    /// Stops the process at each call; what it counts is right all the same.
    Strace(Child, NamedTempFile),
    /// Neither is here, or allowed.
    Nothing,
}

/// Calls by thread.
type Calls = BTreeMap<u32, u64>;

impl Counter {
    fn start(pid: u32, seconds: u64) -> Self {
        let quiet = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            command
        };
        let event = ["stat", "-e", "syscalls:sys_enter_futex"];
        let (pid, seconds) = (pid.to_string(), seconds.to_string());
        let allowed = quiet("perf", &[&event[..], &["true"]].concat())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if allowed {
            let rest = ["-x", ";", "--per-thread", "-p", &pid, "sleep", &seconds];
            let perf = quiet("perf", &[&event[..], &rest].concat())
                .env("LC_ALL", "C")
                .stderr(Stdio::piped())
                .spawn();
            return perf.map_or(Self::Nothing, Self::Perf);
        }
        let Ok(file) = NamedTempFile::new() else {
            return Self::Nothing;
        };
        let strace = quiet("timeout", &["--signal", "INT", &seconds, "strace"])
            .args(["-f", "-qq", "-e", "trace=futex", "-p", &pid, "-o"])
            .arg(file.path())
            .stderr(Stdio::null())
            .spawn();
        match strace {
            Ok(strace) => Self::Strace(strace, file),
            Err(_) => Self::Nothing,
        }
    }

    fn is_done(&mut self) -> Result<bool> {
        match self {
            Self::Perf(child) | Self::Strace(child, _) => Ok(child.try_wait()?.is_some()),
            Self::Nothing => Ok(true),
        }
    }

    /// How it was counted, and what there was.
    fn read(self) -> Result<(&'static str, Option<Calls>)> {
        match self {
            Self::Perf(child) => {
                let said = child.wait_with_output()?.stderr;
                let said = String::from_utf8(said)?;
                // `name-id;calls;..`, or `<not counted>` where there were none.
                let line = |line: &str| {
                    let (who, rest) = line.split_once(';')?;
                    let id = who.rsplit_once('-')?.1.parse().ok()?;
                    Some((id, rest.split(';').next()?.parse().unwrap_or(0)))
                };
                let calls: Calls = said.lines().filter_map(line).collect();
                if calls.is_empty() {
                    return Err(format!("perf counted nothing: {said}").into());
                }
                Ok(("perf stat", Some(calls)))
            }
            Self::Strace(_, file) => {
                let mut calls = Calls::new();
                for line in std::fs::read_to_string(file.path())?.lines() {
                    let Some((id, call)) = line.split_once(' ') else {
                        continue;
                    };
                    // Not the second half of one that was told in two.
                    if call.trim_start().starts_with("futex(") {
                        *calls.entry(id.parse()?).or_default() += 1;
                    }
                }
                Ok(("strace", Some(calls)))
            }
            Self::Nothing => Ok(("nobody: there is neither perf nor strace", None)),
        }
    }
}
