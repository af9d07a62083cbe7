//! Well-behaved sessions, and how long each of them waits for each of its answers.
//!
//! That is from the moment of asking to the kernel's stamp on the answer, less what was the agent's
//! part: from the kernel's stamp on the question until it answered. So it is what the proxy takes
//! and the kernel on its behalf, and not for how long the meter was kept from its core.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::agent::upgrade;
use super::stamped::{Came, Stamped};
use crate::harness::client::websocket;
use crate::harness::frames::{BINARY, Frame};
use crate::harness::wire::request;

/// Between two questions of a session.
const PACE: Duration = Duration::from_millis(50);
/// What is asked. The answer has the first bytes replaced by how long the agent kept it.
const QUESTION: &[u8; 30] = b"12345678 is anybody out there?";
const KEPT: usize = size_of::<u64>();
/// How long their frames are, with a mask and without.
const ASKED: usize = 2 + 4 + QUESTION.len();
const ANSWERED: usize = 2 + QUESTION.len();

/// The sessions; they end when dropped.
pub struct Crowd {
    waits: Rc<RefCell<Vec<Duration>>>,
    lost: Rc<RefCell<Vec<String>>>,
    _sessions: JoinSet<()>,
}

/// How long answers took.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    pub answers: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

impl Crowd {
    /// So many sessions at each of two listeners, the second of which speaks TLS.
    pub async fn come(
        plain: (SocketAddr, usize),
        secure: (SocketAddr, usize),
        tls: Arc<ClientConfig>,
    ) -> Crowd {
        let waits = Rc::new(RefCell::new(Vec::new()));
        let lost = Rc::new(RefCell::new(Vec::new()));
        let mut sessions = JoinSet::new();
        let connector = TlsConnector::from(tls);
        let count = plain.1 + secure.1;
        for n in 0..count {
            // Spread over the pace, so that they do not speak all at once.
            let start = tokio::time::Instant::now() + PACE * (n as u32) / (count as u32) + PACE;
            let (waits, lost) = (Rc::clone(&waits), Rc::clone(&lost));
            let to = if n < plain.1 { plain.0 } else { secure.0 };
            let socket = Stamped::new(TcpStream::connect(to).await.unwrap()).unwrap();
            let came = socket.came();
            if n < plain.1 {
                let socket = opened(socket).await.unwrap();
                sessions.spawn_local(ask(socket, came, start, waits, lost));
            } else {
                let name = "localhost".try_into().unwrap();
                let socket = connector.connect(name, socket).await.unwrap();
                let socket = opened(socket).await.unwrap();
                sessions.spawn_local(ask(socket, came, start, waits, lost));
            }
        }
        Crowd {
            waits,
            lost,
            _sessions: sessions,
        }
    }

    /// How long they have waited since this was asked last, and who has lost its session.
    pub fn waited(&self) -> (Waits, Vec<String>) {
        let mut waits = self.waits.take();
        waits.sort_unstable();
        let part = |share: f64| {
            let at = (waits.len() as f64 * share) as usize;
            waits.get(at).copied().unwrap_or_default()
        };
        let summary = Waits {
            answers: waits.len(),
            p50: part(0.5),
            p99: part(0.99),
            longest: waits.last().copied().unwrap_or_default(),
        };
        (summary, self.lost.take())
    }
}

/// A connection on which a WebSocket was opened.
async fn opened<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) -> io::Result<S> {
    let asked = request("GET", "/echo/crowd", &websocket::UPGRADE, b"");
    socket.write_all(&asked).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    Ok(socket)
}

/// Asks at its pace for as long as it is answered.
async fn ask(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    came: Came,
    start: tokio::time::Instant,
    waits: Rc<RefCell<Vec<Duration>>>,
    lost: Rc<RefCell<Vec<String>>>,
) {
    let mut pace = interval_at(start, PACE);
    // After a stall they speak at their own moments again, and not all at once.
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let question = Frame::new(BINARY, QUESTION).masked();
    let mut answer = [0; ANSWERED];
    loop {
        pace.tick().await;
        let asked = SystemTime::now();
        let answered = async {
            socket.write_all(&question).await?;
            socket.flush().await?;
            socket.read_exact(&mut answer).await
        };
        let answered = answered.await;
        let (kept, echo) = answer[2..].split_first_chunk::<KEPT>().unwrap();
        if answered.is_err() || *echo != QUESTION[KEPT..] {
            return lost.borrow_mut().push(format!("{answered:?}: {answer:?}"));
        }
        let kept = Duration::from_nanos(u64::from_be_bytes(*kept));
        let took = came.get().duration_since(asked).unwrap_or_default();
        waits.borrow_mut().push(took.saturating_sub(kept));
    }
}

/// The crowd's agent.
pub struct Echoing {
    pub addr: SocketAddr,
    _sessions: JoinSet<()>,
}

impl Echoing {
    /// Starts it on this thread.
    pub async fn start() -> Echoing {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut sessions = JoinSet::new();
        sessions.spawn_local(async move {
            let mut sessions = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                // One that ends is the crowd's loss, and told of there.
                sessions.spawn_local(async { drop(echo(socket).await) });
            }
        });
        Echoing {
            addr,
            _sessions: sessions,
        }
    }
}

/// Answers to the end.
async fn echo(socket: TcpStream) -> io::Result<()> {
    let mut socket = Stamped::new(socket)?;
    let came = socket.came();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    socket.write_all(upgrade().as_bytes()).await?;
    let mut asked = [0; ASKED];
    loop {
        socket.read_exact(&mut asked).await?;
        let (mask, masked) = asked[2..].split_first_chunk::<4>().unwrap();
        let bytes = masked.iter().zip(mask.iter().cycle());
        let mut payload: Vec<u8> = bytes.map(|(byte, mask)| byte ^ mask).collect();
        let kept = came.get().elapsed().unwrap_or_default().as_nanos() as u64;
        payload[..KEPT].copy_from_slice(&kept.to_be_bytes());
        socket
            .write_all(&Frame::new(BINARY, payload).plain())
            .await?;
    }
}
