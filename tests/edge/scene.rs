//! What the tests stand on: an agent that shows what it was sent, and a proxy of a text.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;

use crate::harness::Proxy;
use crate::harness::agent::Agent;
use crate::harness::metrics::Scrape;

/// An agent that answers each request with its head, once it has its whole body.
pub fn mirror() -> Agent {
    Agent::scripted(|_, mut wire| async move {
        while let Some(head) = wire.head().await {
            let body = wire.request_body(&head).await;
            if !body.whole {
                return;
            }
            let fields = head.fields.iter();
            let shown: String = fields
                .map(|(name, value)| format!("{name}: {value}\n"))
                .collect();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{shown}",
                shown.len()
            );
            if wire.send(answer).await.is_err() {
                return;
            }
        }
    })
}

/// An agent that gives every byte back.
pub fn echo() -> Agent {
    Agent::start(|_, mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
}

/// The text of a configuration with one listener, `name`, before an agent: `listener` are more keys
/// of it, `rest` are more tables.
pub fn text(protocol: &str, agent: SocketAddr, listener: &str, rest: &str) -> String {
    format!(
        "workers = 2\n[[listener]]\nname = \"door\"\nbind = \"127.0.0.1:0\"\n\
         protocol = \"{protocol}\"\nupstream = \"agent\"\n{listener}\n\
         [upstream.agent]\nendpoints = [\"{agent}\"]\n\
         [drain]\nlame_duck_min = \"0s\"\nlame_duck_quiet = \"100ms\"\n{rest}\n"
    )
}

/// A running proxy of such a text.
pub async fn proxy(protocol: &str, agent: SocketAddr, listener: &str, rest: &str) -> Proxy {
    let text = text(protocol, agent, listener, rest);
    Proxy::builder().configuration(&text).start().await
}

/// How many were refused for a reason.
pub fn refused(scrape: &Scrape, reason: &str) -> f64 {
    scrape.sum("lameduck_sessions_refused_total", &[("reason", reason)])
}

/// How many were refused for any reason.
pub fn all_refused(scrape: &Scrape) -> f64 {
    scrape.sum("lameduck_sessions_refused_total", &[])
}
