//! Where a page tells what it saw, when the proxy it came through may be gone.

use serde_json::Value;
use tokio::sync::watch;

use crate::harness::agent::Agent;
use crate::harness::balancer::View;

/// A listener in plain: `POST /report` with JSON, and `GET /away`, which is answered when the
/// balancer looks away.
pub struct Reporter {
    /// The listening part.
    pub agent: Agent,
    reports: watch::Sender<Vec<Value>>,
}

impl Reporter {
    /// Starts it.
    pub fn start(balancer: View) -> Reporter {
        let reports = watch::Sender::new(Vec::new());
        let heard = reports.clone();
        let agent = Agent::scripted(move |_, mut wire| {
            let (heard, balancer) = (heard.clone(), balancer.clone());
            async move {
                while let Some((head, body)) = wire.next_request().await {
                    if head.first.starts_with("GET /away ") {
                        balancer.looked_away().await;
                    } else if head.first.starts_with("POST /report ") {
                        let report = serde_json::from_slice(&body.bytes).expect("JSON");
                        heard.send_modify(|reports| reports.push(report));
                    }
                    let _ = wire
                        .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await;
                }
            }
        });
        Reporter { agent, reports }
    }

    /// The report of this number, counted from 0. Unbounded.
    pub async fn report(&self, number: usize) -> Value {
        let mut reports = self.reports.subscribe();
        let reports = reports.wait_for(|reports| reports.len() > number).await;
        reports.expect("this holds a sender")[number].clone()
    }
}
