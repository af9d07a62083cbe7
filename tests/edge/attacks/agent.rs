//! The attackers' agent: it echoes, or says more than anybody listens to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use super::cores;
use crate::harness::agent::Agent;
use crate::harness::client::websocket::ACCEPT;
use crate::harness::frames::{BINARY, CLOSE, Frame};
use crate::harness::wire::Wire;

/// The most that is pushed to one client.
pub const PUSHED: u64 = 1 << 30;

/// The attackers' agent, and how much it could push. It yields to all others as the attackers do, so
/// that what it does for them does not disturb the meter.
pub struct Chatty {
    pub addr: SocketAddr,
    pub pushed: Arc<AtomicU64>,
    /// The thread ends with this.
    _held: oneshot::Sender<()>,
}

impl Chatty {
    pub fn start() -> Chatty {
        let pushed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&pushed);
        let (addr, known) = mpsc::channel();
        let (held, dropped) = oneshot::channel();
        std::thread::spawn(move || {
            cores::step_back();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let agent = Agent::scripted(move |_, wire| serve(wire, Arc::clone(&count)));
                addr.send(agent.addr).unwrap();
                let _: Result<(), _> = dropped.await;
            });
        });
        Chatty {
            addr: known.recv().unwrap(),
            pushed,
            _held: held,
        }
    }
}

/// The answer to a WebSocket's request.
pub fn upgrade() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {ACCEPT}\r\n\r\n"
    )
}

async fn serve(mut wire: Wire, pushed: Arc<AtomicU64>) {
    while let Some(head) = wire.head().await {
        let path = head.first.split(' ').nth(1).unwrap_or_default().to_owned();
        let piece = vec![b'x'; 64 << 10];
        let (answer, piece) = match &path[..] {
            "/push" => (upgrade(), Frame::new(BINARY, piece).plain()),
            "/hose" => (
                format!("HTTP/1.1 200 OK\r\ncontent-length: {PUSHED}\r\n\r\n"),
                piece,
            ),
            "/events" => (
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned(),
                [&b"data: "[..], &piece, b"\n\n"].concat(),
            ),
            path if path.starts_with("/echo") => {
                if wire.send(upgrade()).await.is_ok() {
                    echo(wire).await;
                }
                return;
            }
            _ => {
                if !wire.request_body(&head).await.whole
                    || wire
                        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await
                        .is_err()
                {
                    return;
                }
                continue;
            }
        };
        let _ = wire.send(answer).await;
        let mut sent = 0;
        while sent < PUSHED {
            match wire.stream.write(&piece[..]).await {
                Ok(n) => {
                    sent += n as u64;
                    pushed.fetch_add(n as u64, Ordering::Relaxed);
                }
                Err(_) => return,
            }
        }
        return;
    }
}

async fn echo(mut wire: Wire) {
    while let Some(frame) = Frame::read(&mut wire).await {
        let is_close = frame.opcode == CLOSE;
        if wire.send(frame.plain()).await.is_err() || is_close {
            return;
        }
    }
}
