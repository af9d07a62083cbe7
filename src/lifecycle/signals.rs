//! Signals: SIGTERM and SIGINT start a drain, a second SIGINT hurries it, SIGQUIT ends it; SIGHUP has
//! the configuration read anew.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::control::Reloads;
use crate::drain::{Control, Request, Trigger};

/// What a second SIGINT leaves.
const HURRY: Duration = Duration::from_secs(1);

/// The signals that the process listens to, installed.
///
/// As the first process of a container no signal has a default action, so this is made before
/// anything else: one that comes during start-up is heard afterwards.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    /// Meant for parts that are off, or not built: unheard, they would end the process at once.
    others: [Signal; 2],
}

impl Signals {
    /// Installs the handlers, for good.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            others: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// Passes signals on to the drain, for as long as it is polled.
    pub async fn serve(mut self, control: Control, reloads: Reloads) {
        let mut interrupted = false;
        let [log, binary] = &mut self.others;
        loop {
            let (name, window) = tokio::select! {
                Some(()) = self.terminate.recv() => ("SIGTERM", None),
                Some(()) = self.interrupt.recv() => {
                    let hurry = std::mem::replace(&mut interrupted, true);
                    ("SIGINT", hurry.then_some(HURRY))
                }
                Some(()) = self.quit.recv() => {
                    tracing::warn!(signal = "SIGQUIT", "leaving at once");
                    control.cut_now();
                    continue;
                }
                Some(()) = self.hangup.recv() => {
                    tracing::info!(signal = "SIGHUP", "signal");
                    // What came of it is in the log.
                    let _ = reloads.reload().await;
                    continue;
                }
                Some(()) = log.recv() => {
                    // The access log's own thread hears it too, where there is one.
                    tracing::info!(signal = "SIGUSR1", "signal");
                    continue;
                }
                Some(()) = binary.recv() => {
                    tracing::warn!(signal = "SIGUSR2", "handing over to a new binary is not known");
                    continue;
                }
                else => return,
            };
            tracing::info!(signal = name, "signal");
            let reason = Some(name.to_owned());
            control.start(Request {
                trigger: Trigger::Signal,
                part: None,
                window,
                reason,
                looks_away: false,
            });
        }
    }
}
