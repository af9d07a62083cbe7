//! `[upstream.NAME]`: the agent's endpoints, how sessions are spread over them, and what is known
//! of their health.

use std::time::Duration;

use http::HeaderName;

use super::edge::UpstreamEdge;
use super::section::{Found, Origin, Reader, Section};
use super::tls::ClientTls;
use super::types::{Endpoint, UpstreamName};
use super::value::{self, Percent};

/// A named set of endpoints: the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Unique among the upstreams.
    pub name: UpstreamName,
    /// Where the agent listens; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The longest that opening a connection may take.
    pub connect_timeout: Duration,
    /// From the end of a request to the head of its response; zero is without limit.
    pub response_timeout: Duration,
    /// How long an unused connection to the agent is kept for the next request.
    pub idle_timeout: Duration,
    /// Which endpoint a new session goes to.
    pub balance: Balance,
    /// How long the share of an endpoint grows that is new or has recovered; zero for not at all.
    pub slow_start: Duration,
    /// Between two look-ups of an endpoint's name.
    pub resolve_interval: Duration,
    /// Asks endpoints how they are.
    pub check: Option<Check>,
    /// Passes over those whose sessions go wrong.
    pub eject: Option<Eject>,
    /// TLS to the agent.
    pub tls: Option<ClientTls>,
    /// The PROXY protocol, the options of the sockets.
    pub edge: UpstreamEdge,
}

/// Which endpoint a new session goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest sessions.
    Least,
    /// One after the other.
    RoundRobin,
    /// The one with the fewer sessions of two at random.
    RandomTwo,
    /// Always the same for the same client.
    Hash(HashOn),
}

/// What makes two sessions the same client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The value of a request header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The client's IP address.
    Address,
}

/// [`Balance`] as a word; what is hashed stands in another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BalanceWord {
    /// `least`
    Least,
    /// `round-robin`
    RoundRobin,
    /// `random-two`
    RandomTwo,
    /// `hash`
    Hash,
}

/// `[upstream.NAME.check]`: asks each endpoint how it is, time and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The path, for all but TCP.
    pub path: String,
    /// Between two checks of an endpoint.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many good answers in a row make it healthy.
    pub rise: u16,
    /// So many bad ones in a row make it unhealthy.
    pub fall: u16,
}

/// What a check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// To be connected to.
    Tcp,
    /// For a status from 200 to 399.
    Http,
    /// For a WebSocket handshake.
    Websocket,
}

/// `[upstream.NAME.eject]`: an endpoint whose sessions go wrong is passed over for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Eject {
    /// So many failures in a row.
    pub after: u16,
    /// For how long, the first time; each time again it is twice as long.
    pub base: Duration,
    /// The longest of that.
    pub longest: Duration,
    /// Never more of the endpoints than this at once, from 0.0 to 1.0.
    pub max_share: f64,
    /// Whether a 502, 503 or 504 of the agent is a failure too.
    pub gateway_errors: bool,
}

/// The keys that say how sessions are spread and what is known of the endpoints' health.
pub(super) struct RawBalancing {
    balance: Found<BalanceWord>,
    hash_on: Found<Option<HashOn>>,
    slow_start: Found<Duration>,
    resolve_interval: Found<Duration>,
    check: RawCheck,
    eject: RawEject,
}

struct RawCheck {
    table: Origin,
    kind: Found<CheckKind>,
    path: Found<String>,
    interval: Found<Duration>,
    timeout: Found<Duration>,
    rise: Found<u16>,
    fall: Found<u16>,
}

struct RawEject {
    table: Origin,
    after: Found<u16>,
    base: Found<Duration>,
    longest: Found<Duration>,
    max_share: Found<Percent>,
    gateway_errors: Found<bool>,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl RawBalancing {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            balance: table.read("balance", value::balance, BalanceWord::Least),
            hash_on: table.read("hash_on", value::hash_on, None),
            slow_start: table.read("slow_start", value::duration, secs(0)),
            resolve_interval: table.read("resolve_interval", value::positive_duration, secs(30)),
            check: RawCheck::read(&mut table.table("check")),
            eject: RawEject::read(&mut table.table("eject")),
        }
    }

    /// Reports what does not fit; `speaks_bytes` if a listener without HTTP leads here.
    pub(super) fn check(&self, path: &str, speaks_bytes: bool, reader: &Reader<'_>) {
        let key = format!("{path}.hash_on");
        let is_hash = self.balance.value == BalanceWord::Hash;
        if !self.balance.is_sound() || !self.hash_on.is_sound() {
            return;
        }
        match &self.hash_on.value {
            None if is_hash => {
                let what = "`hash` needs to know what is hashed".to_owned();
                let help = "write hash_on = \"header:NAME\", \"cookie:NAME\" or \"address\"";
                let key = format!("{path}.balance");
                reader.error(&self.balance.origin, &key, what, help.to_owned());
            }
            Some(_) if !is_hash => {
                let what = "means nothing without balance = \"hash\"".to_owned();
                let help = format!("write {path}.balance = \"hash\", or leave it out");
                reader.warning(&self.hash_on.origin, &key, what, help);
            }
            Some(HashOn::Header(_) | HashOn::Cookie(_)) if speaks_bytes => {
                let what = "a tcp listener leads here, which sees no headers".to_owned();
                let help = "write \"address\", or give that listener another upstream".to_owned();
                reader.error(&self.hash_on.origin, &key, what, help);
            }
            _ => {}
        }
    }

    /// The values alone, put into an upstream.
    pub(super) fn into_upstream(self, upstream: Upstream) -> Upstream {
        let balance = match (self.balance.value, self.hash_on.value) {
            (BalanceWord::RoundRobin, _) => Balance::RoundRobin,
            (BalanceWord::RandomTwo, _) => Balance::RandomTwo,
            (BalanceWord::Hash, Some(on)) => Balance::Hash(on),
            (BalanceWord::Least | BalanceWord::Hash, _) => Balance::Least,
        };
        Upstream {
            balance,
            slow_start: self.slow_start.value,
            resolve_interval: self.resolve_interval.value,
            check: self.check.into_check(),
            eject: self.eject.into_eject(),
            ..upstream
        }
    }
}

impl RawCheck {
    fn read(table: &mut Section<'_>) -> Self {
        Self {
            table: table.origin(),
            kind: table.read("type", value::check_kind, CheckKind::Tcp),
            path: table.read("path", value::check_path, "/".to_owned()),
            interval: table.read("interval", value::positive_duration, secs(5)),
            timeout: table.read("timeout", value::positive_duration, secs(2)),
            rise: table.read("rise", value::times, 2),
            fall: table.read("fall", value::times, 3),
        }
    }

    fn into_check(self) -> Option<Check> {
        (self.table != Origin::Default).then_some(Check {
            kind: self.kind.value,
            path: self.path.value,
            interval: self.interval.value,
            timeout: self.timeout.value,
            rise: self.rise.value,
            fall: self.fall.value,
        })
    }
}

impl RawEject {
    fn read(table: &mut Section<'_>) -> Self {
        Self {
            table: table.origin(),
            after: table.read("after", value::times, 5),
            base: table.read("base", value::positive_duration, secs(10)),
            longest: table.read("longest", value::positive_duration, secs(300)),
            max_share: table.read("max_share", value::percent, Percent(0.5)),
            gateway_errors: table.read("gateway_errors", value::switch, false),
        }
    }

    fn into_eject(self) -> Option<Eject> {
        (self.table != Origin::Default).then_some(Eject {
            after: self.after.value,
            base: self.base.value,
            longest: self.longest.value,
            max_share: self.max_share.value.0,
            gateway_errors: self.gateway_errors.value,
        })
    }
}
