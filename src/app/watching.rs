//! What is known of the agents and the peers is kept up to date, on the health thread: by asking, by
//! trying again, by looking names up; and so are the certificates.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::http::check;
use crate::net::tls::{TlsListener, Watch};
use crate::net::{Endpoints, Tasks};

use super::plan::Plan;

/// How often an endpoint is tried that could not be reached.
const PROBE: Duration = Duration::from_secs(1);
/// How often it is looked whether certificates have changed.
const RENEWAL: Duration = Duration::from_secs(2);

/// Watches over everything that a plan leads to, as it changes.
pub(super) async fn run(tasks: Tasks, mut plan: watch::Receiver<Arc<Plan>>) {
    let mut watched: Vec<(Weak<Endpoints>, DropGuard)> = Vec::new();
    loop {
        let all = plan.borrow_and_update().upstreams();
        let is = |known: &Weak<Endpoints>, of: &Arc<Endpoints>| known.as_ptr() == Arc::as_ptr(of);
        watched.retain(|(known, _)| all.iter().any(|of| is(known, of)));
        for endpoints in &all {
            if watched.iter().any(|(known, _)| is(known, endpoints)) {
                continue;
            }
            let over = CancellationToken::new();
            watch_over(&tasks, endpoints, &over);
            watched.push((Arc::downgrade(endpoints), over.drop_guard()));
        }
        if plan.changed().await.is_err() {
            return;
        }
    }
}

/// A peer that is not there is to be known before a drain needs it.
fn watch_over(tasks: &Tasks, endpoints: &Arc<Endpoints>, over: &CancellationToken) {
    if let Some(every) = endpoints.resolve_interval() {
        let (endpoints, over) = (Arc::clone(endpoints), over.clone());
        tasks.spawn(async move {
            over.run_until_cancelled(look_up(endpoints, every)).await;
        });
    }
    let (endpoints, over, asking) = (Arc::clone(endpoints), over.clone(), tasks.clone());
    let every = endpoints.check().map(|check| check.interval);
    tasks.spawn(async move {
        match every {
            Some(every) => {
                over.run_until_cancelled(ask(asking, endpoints, every))
                    .await
            }
            None => over.run_until_cancelled(probe(endpoints)).await,
        };
    });
}

/// Takes up certificates that have changed.
pub(super) async fn renew(plan: watch::Receiver<Arc<Plan>>) {
    let mut watches: Vec<(Weak<TlsListener>, Watch)> = Vec::new();
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let listeners = plan.borrow().tls_listeners();
        let is = |known: &Weak<_>, tls: &Arc<_>| known.as_ptr() == Arc::as_ptr(tls);
        watches.retain(|(known, _)| listeners.iter().any(|(_, tls)| is(known, tls)));
        for (name, tls) in listeners {
            if !watches.iter().any(|(known, _)| is(known, &tls)) {
                watches.push((Arc::downgrade(&tls), Watch::new(name, tls)));
            }
        }
        for (_, watch) in &mut watches {
            watch.look();
        }
    }
}

async fn look_up(endpoints: Arc<Endpoints>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while endpoints.resolve().await.is_err() && endpoints.members().is_empty() {
            // Nothing can be served before a name is known.
            sleep(PROBE).await;
        }
    }
}

async fn ask(tasks: Tasks, endpoints: Arc<Endpoints>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for asked in endpoints.take_for_check() {
            let endpoints = Arc::clone(&endpoints);
            // Each on its own: one that hangs must not hold up the others.
            tasks.spawn(async move { check::ask(&endpoints, asked.member()).await });
        }
    }
}

async fn probe(endpoints: Arc<Endpoints>) {
    let mut ticks = interval(PROBE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        endpoints.probe_unhealthy().await;
    }
}
