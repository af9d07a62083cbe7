//! The command that hears of a drain's end.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::drain::Report;
use crate::lifecycle::desk::Desk;
use crate::lifecycle::platform::{Completion, Doing};

/// What starting and killing it may take beyond its own limit.
const SLACK: Duration = Duration::from_secs(1);

/// Runs a command when a drain is over.
pub(super) struct OnDrained {
    words: Vec<String>,
    limit: Duration,
}

impl OnDrained {
    pub(super) fn new(words: Vec<String>, limit: Duration) -> OnDrained {
        OnDrained { words, limit }
    }

    async fn run(&self, desk: &Desk, report: &Report) {
        const CALL: &str = "on_drained";
        let (result, error) = match self.spawn(report) {
            Err(error) => ("start", error.to_string()),
            Ok(child) => match ended(child, report, self.limit).await {
                Ok(status) if status.success() => {
                    tracing::info!(command = ?self.words, %status, "on_drained has run");
                    return desk.count(CALL, "ok");
                }
                Ok(status) => ("exit", status.to_string()),
                Err(Broken::Io(error)) => ("io", error.to_string()),
                Err(Broken::Late) => {
                    let limit = self.limit;
                    ("timeout", format!("not over after {limit:?}, and killed"))
                }
            },
        };
        tracing::warn!(command = ?self.words, error, "on_drained failed");
        desk.count(CALL, result);
    }

    fn spawn(&self, report: &Report) -> io::Result<Child> {
        let [program, arguments @ ..] = &self.words[..] else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Command::new(program)
            .args(arguments)
            .env("LAMEDUCK_TRIGGER", report.trigger)
            .env("LAMEDUCK_OUTCOME", outcome(report))
            .env("LAMEDUCK_CUT", report.cut.to_string())
            .stdin(Stdio::piped())
            // A group of its own: the whole of it can be killed, and a terminal's Ctrl-C, which
            // started the drain, does not end what tells of it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

impl Completion for OnDrained {
    fn complete<'a>(&'a self, desk: &'a Desk, report: Arc<Report>) -> Doing<'a> {
        Box::pin(async move { self.run(desk, &report).await })
    }

    fn needs(&self) -> Duration {
        self.limit + SLACK
    }
}

fn outcome(report: &Report) -> &'static str {
    match report.cut {
        0 => "clean",
        _ => "cut",
    }
}

/// Why there is no exit status.
enum Broken {
    Io(io::Error),
    Late,
}

/// Hands over the report, and waits for the end.
async fn ended(mut child: Child, report: &Report, limit: Duration) -> Result<ExitStatus, Broken> {
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let json = serde_json::to_vec(report).unwrap_or_default();
    let stdin = child.stdin.take();
    let talk = async {
        if let Some(mut stdin) = stdin {
            // Whoever does not read it does not want it.
            let _ = stdin.write_all(&json).await;
        }
        child.wait().await
    };
    match timeout(limit, talk).await {
        Ok(status) => status.map_err(Broken::Io),
        Err(_) => {
            if let Some(group) = group.and_then(Pid::from_raw) {
                // One that has ended meanwhile need not be killed.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            Err(Broken::Late)
        }
    }
}
