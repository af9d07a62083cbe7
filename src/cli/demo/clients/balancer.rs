//! What a load balancer does: it asks for the health, and looks away after two refusals.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;

use super::http::{connect, get, whole};

/// The time between two questions, and the longest that an answer may take.
const EVERY: Duration = Duration::from_secs(1);

/// So many refusals in a row, and nobody is sent any more.
const UNHEALTHY: u32 = 2;

/// What the load balancer has seen last.
#[derive(Clone, Debug, Default)]
pub(in crate::cli::demo) struct View {
    /// Whether it has asked yet.
    pub asks: bool,
    /// Whether it has looked away.
    pub away: bool,
    /// The phase that the proxy named.
    pub phase: Option<String>,
    failures: u32,
}

/// The body of `/readyz`, as far as it is shown.
#[derive(Deserialize)]
struct Readiness {
    phase: String,
}

/// Asks until nobody watches any more.
pub(super) async fn watch(health: String, seen: watch::Sender<View>) {
    let tasks = TaskTracker::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !seen.is_closed() {
        ticks.tick().await;
        let asked = timeout(EVERY, ask(&health, &tasks)).await;
        seen.send_modify(|view| match asked {
            Ok(Ok((ready, phase))) => view.note(ready, phase),
            Ok(Err(_)) | Err(_) => view.note(false, None),
        });
    }
}

async fn ask(health: &str, tasks: &TaskTracker) -> io::Result<(bool, Option<String>)> {
    let mut connection = connect(health, tasks).await?;
    let response = get(&mut connection, health, "/readyz").await?;
    let ready = response.status().is_success();
    let body = whole(response).await?;
    let phase = serde_json::from_slice(&body)
        .ok()
        .map(|Readiness { phase }| phase);
    Ok((ready, phase))
}

impl View {
    fn note(&mut self, ready: bool, phase: Option<String>) {
        self.asks = true;
        self.failures = if ready {
            0
        } else {
            self.failures.saturating_add(1)
        };
        self.away = self.failures >= UNHEALTHY;
        self.phase = phase;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_refusals_in_a_row_turn_the_balancer_away() {
        let mut view = View::default();
        let mut away = |ready| {
            view.note(ready, None);
            view.away
        };
        assert_eq!(
            [false, true, false, false, false, true].map(&mut away),
            [false, false, false, true, true, false]
        );
    }
}
