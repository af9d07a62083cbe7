//! HTTP/1.1 through the proxy, byte by byte: what must pass, what must not, and what is refused.

mod agents;
mod ambiguity;
mod closing;
mod exchanges;
mod fields;
mod handshakes;
mod limits;
mod messages;
mod upgrades;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::harness::agent::Agent;
use crate::harness::wire::{Body, Head, Response, Wire};
use crate::harness::{Proxy, within};

/// What an agent saw, as it came.
struct Seen(mpsc::UnboundedReceiver<(Head, Body)>);

impl Seen {
    async fn next(&mut self) -> (Head, Body) {
        within(10, "a request at the agent", self.0.recv())
            .await
            .expect("the agent lives")
    }

    fn nothing(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// An agent that answers every request with the same bytes.
fn answering(answer: &'static str) -> (Agent, Seen) {
    let (told, seen) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            while let Some(request) = wire.next_request().await {
                let _ = told.send(request);
                if wire.send(answer).await.is_err() {
                    return;
                }
            }
        }
    });
    (agent, Seen(seen))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn client_of(proxy: &Proxy) -> Wire {
    Wire::connect(proxy.addr("web"))
        .await
        .expect("the proxy takes the connection")
}

async fn response(wire: &mut Wire, method: &str) -> Response {
    within(10, "a response", wire.response(method))
        .await
        .expect("a response")
}

/// That a response is an RFC 9457 problem of this status.
fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json"),
        "{response:?}"
    );
    let body: Value = serde_json::from_str(&response.text()).expect("a JSON body");
    assert_eq!(body["status"], status, "{body}");
    assert!(body["title"].is_string(), "{body}");
}
