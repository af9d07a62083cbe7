//! Some hundred clients that keep book of everything, and notice everything.

mod balancer;
mod framing;
mod http;
mod sse;
mod tcp;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::ledger::{End, Received, Sent, Session, Traffic};
pub(super) use balancer::View;

/// The time between two clients' first steps: a crowd, not a stampede.
const APART: Duration = Duration::from_millis(3);

/// The longest that opening a session may take.
const OPENING: Duration = Duration::from_secs(10);

/// The longest that a client waits for what must come: the end of a connection once it has been
/// announced, room for a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the clients go.
#[derive(Clone, Debug)]
pub(super) struct Targets {
    /// `host:port` of HTTP, WebSocket and SSE.
    pub http: String,
    /// `host:port` of the line echo.
    pub tcp: Option<String>,
    /// `host:port` at which `/readyz` is asked, as a load balancer does.
    pub health: Option<String>,
}

/// How many sessions there are, for whoever watches.
#[derive(Debug, Default)]
pub(super) struct Live {
    open: [AtomicUsize; Traffic::ALL.len()],
    opened: AtomicUsize,
}

impl Live {
    /// How many sessions of this kind are open.
    pub(super) fn open(&self, traffic: Traffic) -> usize {
        self.open[traffic as usize].load(Ordering::Relaxed)
    }

    /// How many clients have opened their session, or tried in vain.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// The running clients. They leave when this is dropped.
pub(super) struct Clients {
    /// How many sessions there are.
    pub live: Arc<Live>,
    /// What the load balancer has seen last.
    pub view: watch::Receiver<View>,
    count: usize,
    done: Receiver<Vec<Session>>,
    stop: CancellationToken,
}

impl Clients {
    /// Starts `count` clients on a thread of their own.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub(super) fn start(targets: Targets, count: usize) -> Result<Clients, Error> {
        let runtime = super::runtime()?;
        let (done, over) = sync_channel(1);
        let (seen, view) = watch::channel(View::default());
        let live = Arc::new(Live::default());
        let stop = CancellationToken::new();
        let common = Common {
            targets: Arc::new(targets),
            live: Arc::clone(&live),
            view: view.clone(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        };
        let everyone = everyone(common, count, seen);
        thread::Builder::new()
            .name("demo-clients".to_owned())
            .spawn(move || {
                // Who started the clients may have gone meanwhile; then nobody asks.
                let _ = done.send(runtime.block_on(everyone));
            })
            .map_err(Error::Start)?;
        Ok(Clients {
            live,
            view,
            count,
            done: over,
            stop,
        })
    }

    /// How many clients there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Asks every client to leave in its protocol's way.
    pub(super) fn leave(&self) {
        self.stop.cancel();
    }

    /// Waits so long for every session to end; none as long as one goes on.
    ///
    /// # Errors
    /// When the clients' thread has gone without its books.
    pub(super) fn ended(&self, wait: Duration) -> Result<Option<Vec<Session>>, Error> {
        match self.done.recv_timeout(wait) {
            Ok(sessions) => Ok(Some(sessions)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Vanished("clients")),
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What all clients share.
#[derive(Clone)]
struct Common {
    targets: Arc<Targets>,
    live: Arc<Live>,
    view: watch::Receiver<View>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// One client.
struct Client {
    common: Common,
    id: u32,
    traffic: Traffic,
    /// The time between two of its messages.
    pace: Duration,
}

/// What a client counts while its session lasts.
#[derive(Default)]
struct Tally {
    sent: Sent,
    received: Received,
}

/// An end, and the moment at which the client saw it coming.
struct Ended {
    end: End,
    at: Instant,
}

impl Ended {
    fn now(end: End) -> Ended {
        Ended {
            end,
            at: Instant::now(),
        }
    }

    fn torn(how: impl Into<String>) -> Ended {
        Ended::now(End::Torn(how.into()))
    }
}

/// A session that is counted as open.
struct Opened<'a> {
    live: &'a Live,
    traffic: Traffic,
}

impl<'a> Opened<'a> {
    fn new(live: &'a Live, traffic: Traffic) -> Opened<'a> {
        live.open[traffic as usize].fetch_add(1, Ordering::Relaxed);
        live.opened.fetch_add(1, Ordering::Relaxed);
        Opened { live, traffic }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.live.open[self.traffic as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the client with this number does: of twenty, twelve hold a WebSocket, three speak TCP, two
/// subscribe to events, three ask by HTTP.
fn traffic(number: usize, tcp: bool) -> Traffic {
    match number % 20 {
        n @ 0..12 if n % 2 == 0 => Traffic::Chat,
        0..12 => Traffic::Push,
        12..15 if tcp => Traffic::Tcp,
        12..17 => Traffic::Sse,
        17 | 18 => Traffic::Http,
        _ => Traffic::Slow,
    }
}

/// Runs every client until its end, and the balancer beside them.
async fn everyone(common: Common, count: usize, seen: watch::Sender<View>) -> Vec<Session> {
    if let Some(health) = common.targets.health.clone() {
        common.tasks.spawn(balancer::watch(health, seen));
    }
    let mut running = JoinSet::new();
    for number in 0..count {
        let client = Client {
            traffic: traffic(number, common.targets.tcp.is_some()),
            id: u32::try_from(number).unwrap_or(u32::MAX),
            pace: Duration::from_millis(200 + (number as u64 * 37) % 300),
            common: common.clone(),
        };
        running.spawn(client.run());
        sleep(APART).await;
    }
    let mut sessions = Vec::with_capacity(count);
    while let Some(ended) = running.join_next().await {
        // A client that panicked has said so, and is missed in the sum.
        sessions.extend(ended);
    }
    sessions
}

impl Client {
    async fn run(self) -> Session {
        let mut tally = Tally::default();
        let Ended { end, at } = match self.traffic {
            Traffic::Chat | Traffic::Push => websocket::session(&self, &mut tally).await,
            Traffic::Tcp => tcp::session(&self, &mut tally).await,
            Traffic::Sse => sse::session(&self, &mut tally).await,
            Traffic::Http | Traffic::Slow => http::session(&self, &mut tally).await,
        };
        let Tally { sent, received } = tally;
        Session {
            id: self.id,
            traffic: self.traffic,
            sent,
            received,
            end,
            ended: at,
        }
    }

    /// Opens a session within the time that there is, and counts it, whatever comes of it.
    async fn open<T, E: std::fmt::Display>(
        &self,
        opening: impl Future<Output = Result<T, E>>,
    ) -> Result<(T, Opened<'_>), Ended> {
        let opened = match timeout(OPENING, opening).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(Ended::torn(format!("not opened: {error}"))),
            Err(_) => Err(Ended::torn("not opened in time")),
        };
        let counted = Opened::new(&self.common.live, self.traffic);
        opened.map(|opened| (opened, counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Client {
        /// A client that nobody else knows of.
        pub(super) fn lonely(traffic: Traffic, stop: CancellationToken) -> Client {
            let http = "agent.test:80".to_owned();
            let common = Common {
                targets: Arc::new(Targets {
                    http,
                    tcp: None,
                    health: None,
                }),
                live: Arc::default(),
                view: watch::channel(View::default()).1,
                stop,
                tasks: TaskTracker::new(),
            };
            Client {
                common,
                id: 1,
                traffic,
                pace: Duration::from_millis(1),
            }
        }
    }

    #[test]
    fn of_the_clients_six_in_ten_hold_a_websocket_and_half_of_those_chat() {
        let share = |wanted, tcp| (0..300).filter(|n| traffic(*n, tcp) == wanted).count();
        assert_eq!(
            Traffic::ALL.map(|t| share(t, true)),
            [90, 90, 45, 30, 30, 15]
        );
        assert_eq!(
            Traffic::ALL.map(|t| share(t, false)),
            [90, 90, 0, 75, 30, 15]
        );
    }
}
