//! Well-behaved sessions, and how long each of them waits for each of its answers.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::harness::client::websocket;
use crate::harness::frames::{Frame, TEXT};
use crate::harness::wire::request;

/// Between two questions of a session.
const PACE: Duration = Duration::from_millis(50);
/// What is asked, and how long the frame of the answer is: two bytes of header before it.
const QUESTION: &[u8; 30] = b"is anybody there, in all this?";
const ANSWER: usize = QUESTION.len() + 2;

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
            let socket = TcpStream::connect(to).await.unwrap();
            socket.set_nodelay(true).unwrap();
            if n < plain.1 {
                let socket = opened(socket).await.unwrap();
                sessions.spawn_local(ask(socket, start, waits, lost));
            } else {
                let name = "localhost".try_into().unwrap();
                let socket = connector.connect(name, socket).await.unwrap();
                let socket = opened(socket).await.unwrap();
                sessions.spawn_local(ask(socket, start, waits, lost));
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
    start: tokio::time::Instant,
    waits: Rc<RefCell<Vec<Duration>>>,
    lost: Rc<RefCell<Vec<String>>>,
) {
    let mut pace = interval_at(start, PACE);
    // After a stall they speak at their own moments again, and not all at once.
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let question = Frame::new(TEXT, QUESTION).masked();
    let mut answer = [0; ANSWER];
    loop {
        pace.tick().await;
        let asked = Instant::now();
        let answered = async {
            socket.write_all(&question).await?;
            socket.flush().await?;
            socket.read_exact(&mut answer).await
        };
        match answered.await {
            Ok(_) if answer[2..] == QUESTION[..] => waits.borrow_mut().push(asked.elapsed()),
            other => return lost.borrow_mut().push(format!("{other:?}: {answer:?}")),
        }
    }
}
