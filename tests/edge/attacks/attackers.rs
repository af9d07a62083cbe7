//! Attackers: each does one thing over and over, and knows by what reason it was refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};
use tokio_util::sync::CancellationToken;

use super::cores;
use crate::harness::client::websocket;
use crate::harness::frames::{BINARY, CLOSE, Frame};
use crate::harness::wire::{Wire, request};

/// Where attackers come from.
const SOURCE: [u8; 4] = [127, 0, 0, 66];
/// Where they come from when they are to be trusted with PROXY headers.
pub const TRUSTED: [u8; 4] = [127, 0, 0, 67];

/// Where the proxy can be attacked.
#[derive(Clone)]
pub struct Targets {
    pub plain: SocketAddr,
    pub secure: SocketAddr,
    /// Takes PROXY headers from [`TRUSTED`].
    pub proxied: SocketAddr,
    pub tls: Arc<ClientConfig>,
}

/// What an attempt comes to: the reason by which it was refused, or the beginning of one where it
/// cannot know which; none if it was served, or has not said a word.
type Attempt = Option<&'static str>;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A whole handshake of TLS.
    Handshake,
    /// A ClientHello and silence.
    HalfHandshake,
    /// A ClientHello, and gone as soon as it is answered.
    BrokenHandshake,
    /// No TLS.
    Garbage,
    /// A ClientHello that does not end.
    LargeHello,
    /// A head that comes byte by byte.
    SlowHead,
    /// A body that comes byte by byte.
    SlowBody,
    /// A PROXY header from whom nobody trusts.
    Untrusted,
    /// A PROXY header byte by byte, and a request behind it.
    SplitHeader,
    /// No PROXY header.
    NoHeader,
    /// A head of 80 KiB in one field.
    LargeHead,
    /// A target of 80 KiB.
    LargeTarget,
    /// A body that says that it is larger than may be.
    LargeBody,
    /// One that does not say so.
    LargeChunks,
    /// A message larger than may be.
    LargeMessage,
    /// A WebSocket of which nothing is read while the agent pushes.
    DeafWebSocket,
    /// An answer of which nothing is read.
    DeafDownload,
    /// Events of which nothing is read.
    DeafEvents,
    /// The WebSocket over TLS.
    DeafSecure,
}

/// An attack under way.
pub struct Attack {
    stop: CancellationToken,
    thread: JoinHandle<BTreeMap<&'static str, u64>>,
}

impl Attack {
    /// Begins it, with so many at once, on a thread of its own that yields to all others.
    pub fn begin(deed: Deed, at_once: usize, targets: &Targets) -> Attack {
        let stop = CancellationToken::new();
        let (stopped, targets) = (stop.clone(), targets.clone());
        let thread = std::thread::spawn(move || {
            cores::step_back();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(go_on(deed, at_once, targets, stopped))
        });
        Attack { stop, thread }
    }

    /// Ends it: how many were refused, by reason; those that were not, under the empty one.
    pub fn end(self) -> BTreeMap<&'static str, u64> {
        self.stop.cancel();
        self.thread.join().expect("the attackers")
    }
}

async fn go_on(
    deed: Deed,
    at_once: usize,
    targets: Targets,
    stop: CancellationToken,
) -> BTreeMap<&'static str, u64> {
    let mut attackers = JoinSet::new();
    for _ in 0..at_once {
        let (targets, stop) = (targets.clone(), stop.clone());
        attackers.spawn(async move {
            let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
            while !stop.is_cancelled() {
                let attempt = deed.once(&targets, &stop).await;
                *seen.entry(attempt.unwrap_or_default()).or_default() += 1;
            }
            seen
        });
    }
    let mut all = BTreeMap::new();
    while let Some(seen) = attackers.join_next().await {
        for (reason, count) in seen.unwrap() {
            *all.entry(reason).or_default() += count;
        }
    }
    all
}

async fn connect(to: SocketAddr, from: [u8; 4]) -> Wire {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        // Ports of connections that are over are free again at once.
        socket.set_zero_linger().unwrap();
        if let Ok(stream) = socket.connect(to).await {
            return Wire::new(stream);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything there is, or until the attack is over.
async fn stay(wire: &mut Wire, stop: &CancellationToken) {
    tokio::select! {
        _ = wire.rest() => {}
        () = stop.cancelled() => {}
    }
}

/// Sends a byte of this now and then; whether it was ended by the other side.
async fn drip(wire: &mut Wire, bytes: &[u8], stop: &CancellationToken) -> bool {
    let mut pace = tokio::time::interval(Duration::from_millis(250));
    for byte in bytes.iter().cycle() {
        tokio::select! {
            _ = pace.tick() => if wire.send([*byte]).await.is_err() {
                return true;
            },
            more = wire.more() => if !more {
                return true;
            },
            () = stop.cancelled() => return false,
        }
    }
    false
}

/// The status that a head was answered with.
async fn status(wire: &mut Wire) -> u16 {
    let head = wire.head().await;
    head.map_or(0, |head| head.status())
}

/// A ClientHello.
fn hello(tls: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(tls), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

impl Deed {
    async fn once(self, targets: &Targets, stop: &CancellationToken) -> Attempt {
        match self {
            Deed::Handshake => {
                let wire = connect(targets.secure, SOURCE).await;
                let name = ServerName::try_from("localhost").unwrap();
                let connector = TlsConnector::from(Arc::clone(&targets.tls));
                let Ok(mut stream) = connector.connect(name, wire.stream).await else {
                    return Some("tls_");
                };
                // The proxy answers by itself, and ends the connection first.
                let last = [("connection", "close")];
                let _ = stream
                    .write_all(&request("GET", "/alive", &last, b""))
                    .await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                None
            }
            Deed::HalfHandshake => {
                let mut wire = connect(targets.secure, SOURCE).await;
                let _ = wire.send(hello(&targets.tls)).await;
                stay(&mut wire, stop).await;
                Some("tls_")
            }
            Deed::BrokenHandshake => {
                let mut wire = connect(targets.secure, SOURCE).await;
                let _ = wire.send(hello(&targets.tls)).await;
                wire.more().await;
                Some("tls_")
            }
            Deed::Garbage => {
                let mut wire = connect(targets.secure, SOURCE).await;
                let _ = wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
                wire.rest().await;
                Some("tls_")
            }
            Deed::LargeHello => {
                let mut wire = connect(targets.secure, SOURCE).await;
                // A handshake message of 16 MiB, in records of 16 KiB.
                let mut record = vec![22, 3, 1, 0x40, 0];
                record.extend([1, 0xff, 0xff, 0xff, 3, 3]);
                record.resize(5 + 0x4000, 0);
                let _ = wire.send(&record).await;
                record[5..11].fill(0);
                while wire.send(&record).await.is_ok() && !stop.is_cancelled() {}
                wire.rest().await;
                Some("tls_")
            }
            Deed::SlowHead => {
                let mut wire = connect(targets.plain, SOURCE).await;
                let head = b"GET / HTTP/1.1\r\nhost: a\r\n";
                let _ = wire.send(head).await;
                let ended = drip(&mut wire, b"a: b\r\n", stop).await;
                ended.then_some("min_speed")
            }
            Deed::SlowBody => {
                let mut wire = connect(targets.plain, SOURCE).await;
                let head = b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
                let _ = wire.send(head).await;
                // A body that breaks off is a bad request.
                let ended = drip(&mut wire, b"a", stop).await;
                Some(if ended { "min_speed" } else { "bad_request" })
            }
            Deed::Untrusted => {
                let mut wire = connect(targets.proxied, SOURCE).await;
                let _ = wire.send(PROXIED).await;
                wire.rest().await;
                Some("proxy_untrusted")
            }
            Deed::SplitHeader => {
                let mut wire = connect(targets.proxied, TRUSTED).await;
                for byte in PROXIED {
                    let _ = wire.send([*byte]).await;
                    tokio::task::yield_now().await;
                }
                let asked = request("GET", "/get", &[], b"");
                let _ = wire.send(asked).await;
                (status(&mut wire).await != 200).then_some("a split header")
            }
            Deed::NoHeader => {
                let mut wire = connect(targets.proxied, TRUSTED).await;
                let _ = wire.send(b"PROXY TCP5 this is no header\r\n").await;
                wire.rest().await;
                Some("proxy_header")
            }
            Deed::LargeHead => {
                let large = "x".repeat(80 << 10);
                let bytes = request("GET", "/get", &[("large", &large)], b"");
                refused_with(targets, bytes, "bad_request").await
            }
            Deed::LargeTarget => {
                let path = format!("/get?{}", "x".repeat(80 << 10));
                refused_with(targets, request("GET", &path, &[], b""), "bad_request").await
            }
            Deed::LargeBody => {
                let head = b"POST /get HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n";
                refused_with(targets, head.to_vec(), "max_request_body").await
            }
            Deed::LargeChunks => {
                let mut wire = connect(targets.plain, SOURCE).await;
                let head = b"POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = wire.send(head).await;
                let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
                while wire.send(&chunk).await.is_ok() {
                    if wire.end.is_some() || stop.is_cancelled() {
                        break;
                    }
                }
                wire.rest().await;
                Some("max_request_body")
            }
            Deed::LargeMessage => {
                let mut wire = connect(targets.plain, SOURCE).await;
                let asked = request("GET", "/echo/large", &websocket::UPGRADE, b"");
                let _ = wire.send(asked).await;
                status(&mut wire).await;
                let large = Frame::new(BINARY, vec![0; 1 << 20]).masked();
                let _ = wire.send(large).await;
                while let Some(frame) = Frame::read(&mut wire).await {
                    if frame.opcode == CLOSE {
                        let _ = wire.send(Frame::close(1009).masked()).await;
                    }
                }
                Some("max_websocket_message")
            }
            Deed::DeafWebSocket => deaf(targets, "/push", &websocket::UPGRADE, stop).await,
            Deed::DeafDownload => deaf(targets, "/hose", &[], stop).await,
            Deed::DeafEvents => {
                deaf(targets, "/events", &[("accept", "text/event-stream")], stop).await
            }
            Deed::DeafSecure => {
                let wire = connect(targets.secure, SOURCE).await;
                let name = ServerName::try_from("localhost").unwrap();
                let connector = TlsConnector::from(Arc::clone(&targets.tls));
                let Ok(mut stream) = connector.connect(name, wire.stream).await else {
                    return Some("tls_");
                };
                let asked = request("GET", "/push", &websocket::UPGRADE, b"");
                let _ = stream.write_all(&asked).await;
                let _ = stream.read(&mut [0; 16]).await;
                stop.cancelled().await;
                None
            }
        }
    }
}

/// A PROXY header of somebody.
const PROXIED: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\r\n";

/// A request that is answered with a no.
async fn refused_with(targets: &Targets, bytes: Vec<u8>, reason: &'static str) -> Attempt {
    let mut wire = connect(targets.plain, SOURCE).await;
    let _ = wire.send(bytes).await;
    wire.rest().await;
    Some(reason)
}

/// Asks, and reads nothing.
async fn deaf(
    targets: &Targets,
    path: &str,
    fields: &[(&str, &str)],
    stop: &CancellationToken,
) -> Attempt {
    let mut wire = connect(targets.plain, SOURCE).await;
    let _ = wire.send(request("GET", path, fields, b"")).await;
    stop.cancelled().await;
    None
}
