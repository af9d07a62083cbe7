//! A load balancer's view of the proxy: it polls the readiness, and looks away after two failures.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use super::wire::Wire;

/// How many failed polls in a row make the balancer look away.
const THRESHOLD: u32 = 2;

/// A polling balancer.
pub struct Balancer {
    away: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// What the balancer thinks now. Clones share it.
#[derive(Clone)]
pub struct View(watch::Receiver<bool>);

impl Balancer {
    /// Polls `/readyz` at `health` every second.
    pub fn watch(health: SocketAddr) -> Balancer {
        Balancer::watch_at(health, "/readyz")
    }

    /// Polls another path every second.
    pub fn watch_at(health: SocketAddr, path: &'static str) -> Balancer {
        let (told, away) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_secs(1));
            let mut failures = 0;
            while failures < THRESHOLD {
                pace.tick().await;
                let ready =
                    tokio::time::timeout(Duration::from_secs(1), is_ready(health, path)).await;
                failures = if ready == Ok(true) { 0 } else { failures + 1 };
            }
            told.send_replace(true);
        });
        Balancer { away, task }
    }

    /// Its view.
    pub fn view(&self) -> View {
        View(self.away.clone())
    }
}

impl View {
    /// Whether it sends nobody here any more.
    pub fn looks_away(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it looks away. Unbounded.
    pub async fn looked_away(&self) {
        let _ = self.0.clone().wait_for(|away| *away).await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn is_ready(health: SocketAddr, path: &str) -> bool {
    let asked = async {
        let mut wire = Wire::connect(health).await?;
        wire.request("GET", path, &[("connection", "close")], b"")
            .await
    };
    asked.await.is_ok_and(|response| response.status == 200)
}
