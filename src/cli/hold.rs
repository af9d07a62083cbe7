//! `lameduck hold`: keeps the drain from ending for as long as a command runs.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use rustix::process::{Pid, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::client::{Client, Error, Target};
use crate::admin::control::HoldView;
use crate::config::flag;

/// The exit codes of shells for a command that is not there, or cannot be run, or was killed.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;
const KILLED: i32 = 128;

#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    #[command(flatten)]
    target: Target,

    /// How long the hold outlives this command should it be killed: 1s to 1h. It is prolonged at
    /// a third of that
    #[arg(long, value_name = "DURATION", value_parser = flag::positive_duration)]
    ttl: Duration,

    /// What is being done, for who watches the drain
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A hold, and the way to keep it.
struct Held {
    client: Client,
    ttl: String,
    reason: String,
    path: String,
    /// Whether it was said that it cannot be prolonged.
    lost: bool,
}

/// Runs the command under a hold; the exit code is the command's.
pub(super) async fn hold(args: HoldArgs) -> Result<u8, Error> {
    // First of all, so that no signal ends us with the hold taken and the command running.
    let own = |source| Error::Own {
        what: "signals",
        source,
    };
    let terminate = signal(SignalKind::terminate()).map_err(own)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(own)?;
    let mut held = Held::take(&args).await?;
    let code = match start(&args.command) {
        Ok(child) => held.keep(child, args.ttl, terminate, interrupt).await,
        Err(error) => {
            eprintln!("error: cannot run {}: {error}", args.command[0].display());
            Ok(if error.kind() == ErrorKind::NotFound {
                NOT_FOUND
            } else {
                NOT_RUNNABLE
            })
        }
    };
    held.give_back().await;
    code
}

fn start(command: &[OsString]) -> io::Result<Child> {
    let [program, args @ ..] = command else {
        return Err(ErrorKind::NotFound.into());
    };
    Command::new(program).args(args).spawn()
}

impl Held {
    async fn take(args: &HoldArgs) -> Result<Held, Error> {
        let mut held = Held {
            client: args.target.client()?,
            ttl: format!("{}ms", args.ttl.as_millis()),
            reason: args.reason.clone(),
            path: String::new(),
            lost: false,
        };
        held.retake().await?;
        Ok(held)
    }

    async fn retake(&mut self) -> Result<(), Error> {
        let wish = json!({"ttl": self.ttl, "reason": self.reason});
        let answer = self
            .client
            .ask(Method::POST, "/v1/holds", Some(&wish))
            .await?;
        let hold: HoldView = answer.read()?;
        self.path = format!("/v1/holds/{}", hold.id);
        Ok(())
    }

    /// Waits for the end of the command, prolongs the hold, and passes signals on.
    async fn keep(
        &mut self,
        mut child: Child,
        ttl: Duration,
        mut terminate: Signal,
        mut interrupt: Signal,
    ) -> Result<u8, Error> {
        let third = (ttl / 3).max(Duration::from_millis(100));
        let mut beats = interval_at(Instant::now() + third, third);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        // A terminal sends its signals to the command as well.
        let at_terminal = io::stdin().is_terminal();
        loop {
            let signal = tokio::select! {
                ended = child.wait() => {
                    let what = "the command";
                    return ended.map(code).map_err(|source| Error::Own { what, source });
                }
                _ = beats.tick() => {
                    // The command may end while the proxy is silent, and signals may come; both
                    // wait no longer than an answer may take.
                    self.prolong().await;
                    continue;
                }
                Some(()) = terminate.recv() => rustix::process::Signal::TERM,
                Some(()) = interrupt.recv() => {
                    if at_terminal {
                        continue;
                    }
                    rustix::process::Signal::INT
                }
            };
            if let Some(pid) = pid {
                // It may have ended in this moment; then the loop does too.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Prolongs the hold; one that is no more, for the proxy was restarted, is taken anew.
    async fn prolong(&mut self) {
        let wish = json!({"ttl": self.ttl});
        let prolonged = match self.client.ask(Method::PUT, &self.path, Some(&wish)).await {
            Err(error) if error.is_refusal(StatusCode::NOT_FOUND) => self.retake().await,
            other => other.map(drop),
        };
        match prolonged {
            Ok(()) => self.lost = false,
            Err(error) if !self.lost => {
                self.lost = true;
                eprintln!("warning: the hold cannot be prolonged; the command goes on: {error}");
            }
            Err(_) => {}
        }
    }

    async fn give_back(&self) {
        if let Err(error) = self.client.ask(Method::DELETE, &self.path, None).await
            && !error.is_refusal(StatusCode::NOT_FOUND)
        {
            eprintln!("warning: the hold cannot be given back; it ends by itself: {error}");
        }
    }
}

/// The exit code of a command as shells tell it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(KILLED + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
