//! The crowd before the proxy: sessions of every kind, and what both sides of them felt.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::fronts::Fronts;
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::balancer::Balancer;
use crate::harness::client::websocket::Record;
use crate::harness::client::{Style, http, tcp, websocket};
use crate::harness::ledger::Side;
use crate::harness::manners::{Sort, per_second};
use crate::harness::metrics::Scrape;
use crate::harness::python::PythonAgent;
use crate::harness::within;

/// How many of each kind there are, and how they talk.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) websockets: usize,
    pub(crate) tcp: usize,
    pub(crate) pollers: usize,
    pub(crate) slow: usize,
    pub(crate) events: usize,
    pub(crate) manners: Manners,
}

/// How the sessions talk.
#[derive(Clone, Copy)]
pub(crate) enum Manners {
    /// All at one pace, in every way.
    Even(Duration),
    /// 2 to 50 messages a second, half of the WebSockets in request and reply.
    Lively,
    /// A message every two to four seconds, half of the WebSockets in request and reply.
    Calm,
}

impl Manners {
    fn websocket(self, n: usize, name: &str) -> (Sort, String, Style) {
        let pace = match self {
            Manners::Even(pace) => pace,
            Manners::Calm => Duration::from_millis(fastrand::u64(2_000..4_000)),
            Manners::Lively => {
                let sort = match n % 12 {
                    0..4 => Sort::Asker,
                    4..6 => Sort::Beater,
                    6..9 => Sort::Pusher,
                    _ => Sort::Chatter,
                };
                let (path, style) = sort.manners(n / 12, name);
                return (sort, path, style);
            }
        };
        let every = pace.as_millis();
        let (echo, chat) = (
            format!("/echo/{name}"),
            format!("/chat/{name}?every={every}"),
        );
        match (self, n % 5) {
            (Manners::Calm, _) => match n % 4 {
                0 | 1 => (Sort::Asker, echo, Style::Think(pace / 2, pace)),
                2 => (Sort::Pusher, chat, Style::Listen),
                _ => (Sort::Chatter, chat, Style::Chat(pace)),
            },
            (_, 0) => (Sort::Chatter, chat, Style::Chat(pace)),
            (_, 1) => (
                Sort::Chatter,
                chat + "&parts=1",
                Style::ChatInParts(pace / 3),
            ),
            (_, 2) => (Sort::Asker, echo, Style::Ask(pace)),
            (_, 3) => (Sort::Pusher, chat, Style::Listen),
            (_, _) => (Sort::Chatter, format!("/quiet/{name}"), Style::Chat(pace)),
        }
    }

    fn tcp(self, n: usize, name: &str) -> (Sort, String, Style) {
        let pace = match self {
            Manners::Even(pace) => pace,
            Manners::Lively => per_second(2, 10),
            Manners::Calm => Duration::from_secs(3),
        };
        let every = pace.as_millis();
        let (echo, chat) = (
            format!("/echo/{name}"),
            format!("/chat/{name}?every={every}"),
        );
        match n % 3 {
            0 => (Sort::Chatter, chat, Style::Chat(pace)),
            1 => (Sort::Asker, echo, Style::Ask(pace)),
            _ => (Sort::Pusher, echo, Style::Listen),
        }
    }

    /// Waits until sessions have shown their ways, by which they are judged: for as long as some
    /// messages take.
    pub(crate) async fn are_shown(self) {
        match self {
            Manners::Even(_) => {}
            Manners::Lively => tokio::time::sleep(Duration::from_secs(3)).await,
            Manners::Calm => tokio::time::sleep(Duration::from_secs(15)).await,
        }
    }

    /// Whether a request in so large a crowd may cross the Close.
    pub(crate) fn may_cross(self) -> bool {
        !matches!(self, Manners::Even(_))
    }

    fn polls(self) -> Duration {
        match self {
            Manners::Even(pace) => pace * 2,
            Manners::Lively | Manners::Calm => Duration::from_secs(1),
        }
    }
}

/// What stands behind the WebSockets.
pub(crate) enum ChatAgent {
    Rust(WebSocketAgent),
    Python(PythonAgent),
}

impl ChatAgent {
    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            ChatAgent::Rust(agent) => agent.agent.addr,
            ChatAgent::Python(agent) => agent.addr,
        }
    }

    async fn sides(&self, names: &[String]) -> HashMap<String, Side> {
        match self {
            ChatAgent::Rust(agent) => agent.ledger.sides(names).await,
            ChatAgent::Python(agent) => agent.sides(names).await,
        }
    }
}

/// All that stands behind the proxy.
pub(crate) struct Agents {
    pub(crate) chat: ChatAgent,
    pub(crate) web: HttpAgent,
    pub(crate) raw: TcpAgent,
}

impl Agents {
    /// Starts the others beside this one.
    pub(crate) fn beside(chat: ChatAgent) -> Agents {
        Agents {
            chat,
            web: HttpAgent::start(),
            raw: TcpAgent::start(),
        }
    }
}

/// The long-lived clients.
pub(crate) struct Crowd {
    websockets: JoinSet<Record>,
    tcp: JoinSet<Record>,
    polls: JoinSet<http::PollRecord>,
    events: JoinSet<http::EventsRecord>,
    sorts: HashMap<String, Sort>,
}

impl Crowd {
    /// Opens all of them.
    pub(crate) async fn gather(fronts: Fronts, size: &Size, balancer: &Balancer) -> Crowd {
        let mut crowd = Crowd {
            websockets: JoinSet::new(),
            tcp: JoinSet::new(),
            polls: JoinSet::new(),
            events: JoinSet::new(),
            sorts: HashMap::new(),
        };
        let never = CancellationToken::new;
        let mut opening = JoinSet::new();
        for n in 0..size.websockets {
            let name = format!("ws-{n}");
            let (sort, path, style) = size.manners.websocket(n, &name);
            crowd.sorts.insert(name.clone(), sort);
            opening.spawn(async move {
                let wire = websocket::open(fronts.chat, &path).await.unwrap();
                (wire, name, style)
            });
            // A few at a time: the way may be long, but an accept queue is short.
            if opening.len() == AT_ONCE || n + 1 == size.websockets {
                for (wire, name, style) in std::mem::take(&mut opening).join_all().await {
                    crowd.websockets.spawn(async move {
                        websocket::converse(wire, &name, style, never()).await
                    });
                }
            }
        }
        for (n, raw) in (0..size.tcp).zip(std::iter::repeat(fronts.raw)) {
            let name = format!("tcp-{n}");
            let (sort, path, style) = size.manners.tcp(n, &name);
            crowd.sorts.insert(name.clone(), sort);
            let raw = raw.expect("a front for TCP");
            let wire = tcp::open(raw, &path).await.unwrap();
            crowd
                .tcp
                .spawn(async move { tcp::converse(wire, &name, style, never()).await });
        }
        for _ in 0..size.pollers {
            crowd.polls.spawn(http::poll(
                fronts.web,
                size.manners.polls(),
                balancer.view(),
            ));
        }
        for _ in 0..size.events {
            crowd
                .events
                .spawn(http::events(fronts.web, "GET", "/events?every=200"));
        }
        crowd
    }

    /// Whether the proxy counts every one of them.
    pub(crate) fn is_counted_in(&self, scrape: &Scrape, size: &Size) -> bool {
        scrape.open("websocket") == size.websockets as f64
            && scrape.open("tcp") == size.tcp as f64
            && scrape.open("sse") == size.events as f64
    }

    /// What they felt, once all have gone. Unbounded.
    pub(crate) async fn felt(self, agents: &Agents) -> Felt {
        let sorts = self.sorts;
        let websockets = self.websockets.join_all().await;
        let tcp = self.tcp.join_all().await;
        let names = |records: &[Record]| -> Vec<String> {
            records.iter().map(|record| record.name.clone()).collect()
        };
        let chat = agents.chat.sides(&names(&websockets)).await;
        let raw = agents.raw.ledger.sides(&names(&tcp)).await;
        let meet = |records: Vec<Record>, agents: HashMap<String, Side>| -> Vec<Session> {
            let meet = |client: Record| Session {
                agent: agents[&client.name].clone(),
                sort: sorts[&client.name],
                client,
            };
            records.into_iter().map(meet).collect()
        };
        Felt {
            websockets: meet(websockets, chat),
            tcp: meet(tcp, raw),
            polls: self.polls.join_all().await,
            events: self.events.join_all().await,
        }
    }
}

/// How many WebSockets are opened at once.
const AT_ONCE: usize = 64;

/// Both sides of a session.
pub(crate) struct Session {
    pub(crate) client: Record,
    pub(crate) agent: Side,
    pub(crate) sort: Sort,
}

impl Session {
    /// Messages of the client that were to be answered and were not.
    pub(crate) fn unanswered(&self) -> u64 {
        let side = &self.client.side;
        match self.sort.is_answered() {
            true => side.sent.saturating_sub(side.received.len() as u64),
            false => self.client.unanswered,
        }
    }
}

/// What the crowd felt.
pub(crate) struct Felt {
    pub(crate) websockets: Vec<Session>,
    pub(crate) tcp: Vec<Session>,
    pub(crate) polls: Vec<http::PollRecord>,
    pub(crate) events: Vec<http::EventsRecord>,
}

/// Requests that are in flight when the drain begins.
pub(crate) struct SlowRequests(JoinSet<Result<(), String>>);

impl SlowRequests {
    /// Asks, and waits until the agent has heard it.
    pub(crate) async fn ask(front: SocketAddr, web: &HttpAgent, count: usize) -> SlowRequests {
        let mut requests = JoinSet::new();
        for n in 0..count {
            let path = format!("/slow?ms={}", 1500 + 4000 * n / count);
            requests.spawn(async move { http::fetch(front, &path).await });
        }
        within(
            10,
            "the slow requests at the agent",
            web.has_seen(count, "/slow"),
        )
        .await;
        SlowRequests(requests)
    }

    /// What was wrong with the answers.
    pub(crate) async fn faults(self) -> Vec<String> {
        self.0
            .join_all()
            .await
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }
}
