//! systemd: told when the process is ready, how it drains, and that its workers live.

mod words;

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::session::{Holds, Ledgers, Phase, PhaseView, Workers};

use words::{LOOK, Open, Told};

/// What speaks to systemd.
#[derive(Debug)]
pub struct Systemd {
    watchdog: Option<Duration>,
    phase: watch::Receiver<PhaseView>,
    ledgers: Ledgers,
    holds: Holds,
    workers: Workers,
}

impl Systemd {
    /// What speaks to the systemd that has started this process; none if it does not listen.
    pub fn new(
        phase: &watch::Receiver<PhaseView>,
        ledgers: &Ledgers,
        holds: &Holds,
        workers: &Workers,
    ) -> Option<Systemd> {
        let socket = std::env::var_os("NOTIFY_SOCKET")?;
        if socket.is_empty() {
            return None;
        }
        Some(Systemd {
            watchdog: sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()),
            phase: phase.clone(),
            ledgers: ledgers.clone(),
            holds: holds.clone(),
            workers: workers.clone(),
        })
    }

    /// Tells systemd what it has to know, until the process ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = Told::default();
        tokio::select! {
            () = self.tell(&mut told) => {}
            () = self.feed() => {}
            () = stop.cancelled() => {}
        }
        // A process that was drained already goes without another drain.
        if !told.stopping {
            notify(&[NotifyState::Stopping]);
        }
    }

    /// Ready, stopping, the status, and more time for a drain.
    async fn tell(&self, told: &mut Told) {
        let mut phase = self.phase.clone();
        loop {
            let now = Instant::now();
            let view = phase.borrow_and_update().clone();
            let totals = self.ledgers.totals();
            let open = Open {
                sessions: totals.open(),
                connections: totals.connections(),
                holds: self.holds.live(now),
            };
            let words = told.next(now, &view, open);
            let states: Vec<_> = words.iter().map(words::Word::state).collect();
            notify(&states);
            tokio::select! {
                // The phase's owner goes before the process, which may still take its time.
                Ok(()) = phase.changed() => {}
                () = sleep_until(now + LOOK) => {}
            }
        }
    }

    /// The watchdog: fed only while every worker comes round to its orders.
    async fn feed(&self) {
        let Some(patience) = self.watchdog else {
            return std::future::pending().await;
        };
        let mut phase = self.phase.clone();
        // Before that systemd waits for READY, and for no watchdog.
        let serving = phase
            .wait_for(|view| view.phase >= Phase::Serving)
            .await
            .is_ok();
        if !serving {
            return std::future::pending().await;
        }
        let mut ticks = interval(patience / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(patience / 2, self.workers.all_come_round()).await {
                Ok(true) => notify(&[NotifyState::Watchdog]),
                Ok(false) => {}
                Err(_) => tracing::error!("a worker hangs; the watchdog is not fed"),
            }
        }
    }
}

/// Tells systemd, if there is anything to tell.
fn notify(states: &[NotifyState<'_>]) {
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not hear");
    }
}
