//! Clients that speak TLS: those that stay, and those that come all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use crate::harness::authority::{ONLY_12, ONLY_13};
use crate::harness::client::websocket::UPGRADE;
use crate::harness::frames::{Frame, TEXT};
use crate::harness::ledger::message;
use crate::harness::wire::request;
use crate::harness::{Proxy, within};
use crate::scene::Files;

/// The ways in which clients shake hands: the version, and whether they resume.
pub fn clients(files: &Files) -> Vec<Arc<ClientConfig>> {
    let mut clients = Vec::new();
    for versions in [ONLY_12, ONLY_13] {
        let resuming = files.authority.client(versions, None);
        let mut fresh = ClientConfig::clone(&resuming);
        fresh.resumption = Resumption::disabled();
        clients.extend([resuming, Arc::new(fresh)]);
    }
    clients
}

type Stream = TlsStream<TcpStream>;

async fn shake(proxy: &Proxy, listener: &str, tls: &Arc<ClientConfig>) -> Result<Stream, String> {
    let said = |error: std::io::Error| error.to_string();
    let socket = TcpStream::connect(proxy.addr(listener))
        .await
        .map_err(said)?;
    socket.set_nodelay(true).map_err(said)?;
    let name = "localhost".try_into().unwrap();
    let shaken = TlsConnector::from(Arc::clone(tls)).connect(name, socket);
    within(20, "a handshake", shaken).await.map_err(said)
}

/// Whichever certificate a handshake is shown that resumes nothing.
pub async fn shown(proxy: &Proxy, listener: &str, fresh: &Arc<ClientConfig>) -> Vec<u8> {
    let stream = shake(proxy, listener, fresh).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A session that is answered with its own words.
pub struct Session {
    stream: Stream,
    speaks: Speech,
    said: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Speech {
    Lines,
    Websocket,
}

impl Session {
    pub async fn open(proxy: &Proxy, n: usize, tls: &Arc<ClientConfig>) -> Session {
        let (speaks, listener) = match n / 4 % 2 {
            0 => (Speech::Lines, "raw"),
            _ => (Speech::Websocket, "web"),
        };
        let mut stream = shake(proxy, listener, tls).await.unwrap();
        let path = format!("/echo/s{n}");
        match speaks {
            Speech::Lines => say(&mut stream, format!("{path}\n").as_bytes())
                .await
                .unwrap(),
            Speech::Websocket => {
                let asked = request("GET", &path, &UPGRADE, b"");
                say(&mut stream, &asked).await.unwrap();
                let head = until(&mut stream, b"\r\n\r\n").await.unwrap();
                assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
            }
        }
        Session {
            stream,
            speaks,
            said: 0,
        }
    }

    pub async fn says(&mut self) {
        let text = message(self.said);
        let bytes = match self.speaks {
            Speech::Lines => (text + "\n").into_bytes(),
            Speech::Websocket => Frame::new(TEXT, text).masked(),
        };
        say(&mut self.stream, &bytes).await.unwrap();
    }

    /// Whether the answer is what was said, and no byte else.
    pub async fn hears(&mut self) -> bool {
        let text = message(self.said);
        let expected = match self.speaks {
            Speech::Lines => (text + "\n").into_bytes(),
            Speech::Websocket => Frame::new(TEXT, text).plain(),
        };
        self.said += 1;
        let mut heard = vec![0; expected.len()];
        let read = self.stream.read_exact(&mut heard).await;
        read.is_ok() && heard == expected
    }
}

/// Writes all of it, down to the socket: without a flush TLS may keep what a busy task could not write.
async fn say(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn until(stream: &mut Stream, mark: &[u8]) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    while !read.ends_with(mark) {
        read.push(stream.read_u8().await.ok()?);
    }
    Some(read)
}

/// New handshakes at an even pace, each with an echo behind it.
pub struct Handshakes {
    over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    resumed: Arc<AtomicU64>,
    pacing: tokio::task::JoinHandle<Vec<String>>,
    begun: Instant,
}

impl Handshakes {
    pub fn begin(proxy: &Arc<Proxy>, clients: &[Arc<ClientConfig>], rate: u64) -> Handshakes {
        let over = Arc::new(AtomicBool::new(false));
        let (made, resumed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (proxy, clients) = (Arc::clone(proxy), clients.to_vec());
        let (ends, counted) = (Arc::clone(&over), (Arc::clone(&made), Arc::clone(&resumed)));
        let pacing = tokio::spawn(async move {
            // Those that a slow moment held up are made up for.
            let mut pace = tokio::time::interval(Duration::from_secs(1) / rate as u32);
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            let (mut shaking, mut faults) = (JoinSet::new(), Vec::new());
            let mut n = 0;
            while !ends.load(Ordering::SeqCst) {
                tokio::select! {
                    _ = pace.tick() => {
                        n += 1;
                        let tls = Arc::clone(&clients[n % clients.len()]);
                        shaking.spawn(brief(Arc::clone(&proxy), tls, counted.clone()));
                    }
                    Some(ended) = shaking.join_next() => faults.extend(ended.unwrap().err()),
                }
            }
            faults.extend(shaking.join_all().await.into_iter().filter_map(Result::err));
            faults
        });
        Handshakes {
            over,
            made,
            resumed,
            pacing,
            begun: Instant::now(),
        }
    }

    /// How many there were in a second, and how many in all, and of those resumed; and what went wrong.
    pub async fn end(self) -> (f64, u64, u64, Vec<String>) {
        self.over.store(true, Ordering::SeqCst);
        let took = self.begun.elapsed();
        let faults = within(30, "the last handshakes", self.pacing)
            .await
            .unwrap();
        let made = self.made.load(Ordering::SeqCst);
        let resumed = self.resumed.load(Ordering::SeqCst);
        (made as f64 / took.as_secs_f64(), made, resumed, faults)
    }
}

/// A handshake, an echo, and an end of its own.
async fn brief(
    proxy: Arc<Proxy>,
    tls: Arc<ClientConfig>,
    (made, resumed): (Arc<AtomicU64>, Arc<AtomicU64>),
) -> Result<(), String> {
    let mut stream = shake(&proxy, "brief", &tls).await?;
    let said = |error: std::io::Error| error.to_string();
    say(&mut stream, b"/quick\n").await.map_err(said)?;
    let echo = within(20, "an echo", until(&mut stream, b"\n")).await;
    if echo.as_deref() != Some(b"/quick\n") {
        return Err(format!("instead of an echo: {echo:?}"));
    }
    // A ticket comes with the first words of TLS 1.3.
    let kind = stream.get_ref().1.handshake_kind();
    resumed.fetch_add(
        u64::from(kind == Some(HandshakeKind::Resumed)),
        Ordering::SeqCst,
    );
    made.fetch_add(1, Ordering::SeqCst);
    stream.shutdown().await.map_err(said)
}
