//! The health thread: health, metrics and the control API answer from here whatever the workers do.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::admin::control::Control;
use crate::admin::{self, Health};
use crate::lifecycle::hooks::Hooks;
use crate::net::Tasks;
use crate::session::Ledgers;

use super::memory::Memory;
use super::plan::Plan;
use super::watching;

/// How often it is looked whether most sessions are gone.
const LOOK: Duration = Duration::from_millis(250);
/// How often histogram samples are folded; without it they pile up.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long the answers under way have when the process leaves.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What the thread is born with.
pub(super) struct Birth {
    pub(super) socket: TcpListener,
    pub(super) health: Health,
    pub(super) admin_socket: admin::Bound,
    pub(super) control: Control,
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    pub(super) hooks: Option<Hooks>,
    pub(super) stop: CancellationToken,
}

/// Answers until told to stop.
///
/// # Errors
/// When the runtime cannot be made or the socket cannot be watched.
pub(super) fn run(birth: Birth) -> io::Result<()> {
    let Birth {
        socket,
        health,
        admin_socket,
        control,
        plan,
        hooks,
        stop,
    } = birth;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let tasks = Tasks::new();
        tasks.spawn(watching::run(tasks.clone(), plan.clone()));
        tasks.spawn(upkeep());
        tasks.spawn(watching::renew(plan));
        tasks.spawn(give_back(health.readiness.ledgers.clone()));
        if let Some(hooks) = hooks {
            tasks.spawn(hooks.run(control.clone()));
        }
        let connections = Tasks::new();
        let served = tokio::try_join!(
            admin::serve(admin::Bound::Tcp(socket), health, &connections, &stop),
            admin::serve(admin_socket, control, &connections, &stop),
        );
        // Who waits for the end of the drain has it told before the process is gone.
        let _ = timeout(LAST_WORDS, connections.all_gone()).await;
        served.map(drop)
    })
}

/// Of a wave of sessions nothing should be left.
async fn give_back(ledgers: Ledgers) {
    let mut memory = Memory::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        memory.look(ledgers.totals().open());
    }
}

async fn upkeep() {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        admin::recorder().run_upkeep();
    }
}
