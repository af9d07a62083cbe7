//! The validated configuration: values here cannot be wrong, and nothing re-checks them later.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::announcement::Announcement;
use super::edge::{AccessLog, Limits, ListenerEdge};
use super::platform::Platforms;
use super::route::Route;
use super::tls::ServerTls;
use super::token::Token;
use super::upstream::Upstream;

/// The name of a listener, as written in the configuration and as shown in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerName(pub Arc<str>);

/// The name of an upstream, as written in the configuration and as shown in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamName(pub Arc<str>);

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the program runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workers, each with a core's share of the sessions.
    pub workers: NonZeroUsize,
    /// The bound addresses, in the order of the file; at least one.
    pub listeners: Vec<Listener>,
    /// The sets of endpoints; every listener's `upstream` is one of them.
    pub upstreams: Vec<Upstream>,
    /// How a drain goes.
    pub drain: Drain,
    /// Bounds on what the process takes on.
    pub limits: Limits,
    /// Where health and metrics answer.
    pub health: Health,
    /// Where the control API answers.
    pub admin: Admin,
    /// The lines about ended sessions, if they are wanted.
    pub access_log: Option<AccessLog>,
    /// How the log is written.
    pub log: Log,
    /// Who starts drains, and is told when they are over.
    pub platforms: Platforms,
}

impl Config {
    /// How long before its Close a session hears of it, where it hears of it the earliest.
    pub fn longest_announcement(&self) -> Duration {
        let goodbyes = self.listeners.iter().map(|listener| &listener.goodbye);
        let announced = goodbyes.filter(|goodbye| goodbye.announcement.is_some());
        let ahead = announced.map(|goodbye| goodbye.announce_ahead);
        ahead.max().unwrap_or_default()
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and what is upgraded from it.
    Http,
    /// Bytes, untouched.
    Tcp,
    /// TLS, untouched, but for the name of the server that is asked for.
    TlsPassthrough,
}

impl Protocol {
    /// As it is written in the configuration.
    pub fn label(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
            Protocol::TlsPassthrough => "tls-passthrough",
        }
    }
}

/// A bound address and what is spoken there.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique among the listeners.
    pub name: ListenerName,
    /// The address to bind; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The agent's name in [`Config::upstreams`].
    pub upstream: UpstreamName,
    /// Who goes elsewhere: the first that takes a session.
    pub routes: Vec<Route>,
    /// The HTTP settings in force here: the listener's own over the general ones.
    pub http: Http,
    /// How sessions here are asked to go.
    pub goodbye: Goodbye,
    /// The peer that late arrivals are passed to; there is one where they are to be forwarded.
    pub forward_to: Option<Endpoint>,
    /// TLS to the clients.
    pub tls: Option<ServerTls>,
    /// The PROXY protocol, the options of the sockets, the limits.
    pub edge: ListenerEdge,
}

/// How a session is asked to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The status code of a Close (RFC 6455 7.4).
    pub close_code: u16,
    /// The reason in a Close: at most 123 bytes of text.
    pub close_reason: String,
    /// Who is told first.
    pub close_order: CloseOrder,
    /// The longest wait for a good moment; without it, as long as the window allows.
    pub close_patience: Option<Duration>,
    /// The text message that tells the client of a WebSocket to come back, before its Close.
    pub announcement: Option<Announcement>,
    /// So long before the Close.
    pub announce_ahead: Duration,
}

/// Which side of a session is told first that it should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseOrder {
    /// By what the session's own traffic tells: the side that speaks unasked.
    Auto,
    /// The client: what it still says reaches the agent.
    Client,
    /// The agent: what it still says reaches the client.
    Agent,
}

/// Settings of an HTTP listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// From the first byte of a request to the end of its head; also for a silent new connection.
    pub header_timeout: Duration,
    /// Between requests on a kept-alive connection.
    pub idle_timeout: Duration,
    /// The largest request head, in bytes.
    pub max_header_bytes: usize,
    /// The most header fields in a request.
    pub max_headers: usize,
    /// What becomes of `Forwarded` and the `X-Forwarded-*` fields.
    pub forwarded: Forwarded,
    /// The pseudonym written into `Via`; none leaves the field alone.
    pub via: Option<String>,
    /// The path on which readiness is answered on the listener itself.
    pub health_path: Option<String>,
    /// The request header whose value names the client.
    pub client_key: Option<HeaderName>,
}

/// What becomes of the fields that say where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Our view is added behind what the client sent.
    Append,
    /// What the client sent is dropped, our view is written.
    Replace,
    /// What the client sent is passed on as it is, and nothing is added.
    Leave,
}

/// One address of an agent: `host:port`, the host a name or an IP address, or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(pub Arc<str>);

impl Endpoint {
    /// The path of a unix socket, if it is one.
    pub fn unix_path(&self) -> Option<&Path> {
        self.0.strip_prefix("unix:").map(Path::new)
    }

    /// The host, without the port.
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a drain goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// The deregistration delay: everything is over by then.
    pub window: Window,
    /// Kept free at the end of the window.
    pub margin: Duration,
    /// The shortest that new sessions are still served after the drain began.
    pub lame_duck_min: Duration,
    /// The longest that new sessions are still served after the drain began.
    pub lame_duck_max: Stretch,
    /// So long without a new session ends the lame duck stretch early.
    pub lame_duck_quiet: Duration,
    /// Whether readiness fails during a drain.
    pub readiness: Readiness,
    /// Given to sessions to end by themselves before the first is asked to go.
    pub finish: Duration,
    /// The longest that one session may take from being asked to being gone.
    pub close_timeout: Duration,
    /// The most sessions that are asked to go and are not gone, while the window suffices.
    pub max_closing: NonZeroUsize,
    /// What a session that arrives after the lame duck stretch meets.
    pub late_arrivals: LateArrivals,
    /// The longest delay that the last `retry:` of an event stream asks for; zero sends none.
    pub sse_retry: Duration,
    /// The exit code of a drain in which sessions were cut.
    pub exit_code_when_cut: u8,
    /// When the process ends with its drain.
    pub exit_when_drained: ExitWhenDrained,
    /// Where the report is written as JSON.
    pub report_file: Option<PathBuf>,
    /// What the agent is told as the drain goes.
    pub hooks: Hooks,
}

/// What the agent is told as a drain goes, each by a call to a URL of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// When the phase of this name begins.
    pub lame_duck: Option<HookUrl>,
    /// Likewise.
    pub closing: Option<HookUrl>,
    /// Likewise.
    pub drained: Option<HookUrl>,
    /// When sessions are asked to go.
    pub on_close: Option<HookUrl>,
    /// The longest that an answer may take.
    pub timeout: Duration,
}

/// Where a hook is: `http://HOST:PORT/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUrl {
    /// The agent's address.
    pub authority: Endpoint,
    /// The path from its first slash, with the query.
    pub path: Arc<str>,
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// When the process ends with its drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitWhenDrained {
    /// When a signal started it; else it stays, drained.
    OnSignal,
    /// Whoever started it.
    Always,
}

/// The time from the start of a drain to its end at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// What holds unless a shorter one is asked for, or, with `auto`, as long as no platform has
    /// said how long it waits.
    pub length: Duration,
    /// Whether the shortest that the platforms are known to wait holds instead.
    pub auto: bool,
}

impl Window {
    /// A window of this length, whatever the platforms say.
    pub fn of(length: Duration) -> Window {
        Window {
            length,
            auto: false,
        }
    }
}

/// When a platform is asked not to pick this instance in a scale-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectWhen {
    /// Never.
    Off,
    /// While more sessions than this are open, or a hold lives.
    OpenAbove(u64),
}

impl ProtectWhen {
    /// Whether the condition holds with so many sessions and holds.
    pub fn holds_for(self, open: u64, holds: usize) -> bool {
        match self {
            ProtectWhen::Off => false,
            ProtectWhen::OpenAbove(number) => open > number || holds > 0,
        }
    }
}

/// A length of time, given as such or as a share of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// So long.
    Of(Duration),
    /// This part of the window, from 0.0 to 1.0.
    Share(f64),
}

impl Stretch {
    /// The length of the stretch inside a window.
    pub fn within(self, window: Duration) -> Duration {
        match self {
            Stretch::Of(length) => length.min(window),
            Stretch::Share(share) => window.mul_f64(share),
        }
    }
}

/// Whether readiness fails during a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At once: right for an ALB, and for Kubernetes.
    Fail,
    /// Not: right behind an NLB, which resets the flows of an unhealthy target.
    Keep,
    /// Fails unless the balancer is known to be looking away already.
    Auto,
}

/// What a session that arrives after the lame duck stretch meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateArrivals {
    /// A polite no.
    Refuse,
    /// The agent, as before.
    Serve,
    /// A peer: the listener's `forward_to`.
    Forward,
}

/// Where health and metrics answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The address to bind.
    pub bind: SocketAddr,
}

/// Where a socket is bound that no client comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A unix socket of this path.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Tcp(addr) => addr.fmt(f),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where the control API answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where to bind; loopback or a unix socket, unless there is a token.
    pub bind: Bind,
    /// What a client has to know; without it, whoever reaches the address may call.
    pub token: Option<Token>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The namespace of the metrics in the line that CloudWatch makes them of, if there is to be one.
    pub emf: Option<String>,
}

/// What is done when the machine is to be frozen for some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFreeze {
    /// It drains.
    Drain,
    /// Nothing: sessions outlive it.
    Ignore,
}

/// What is done when a Spot instance is recommended to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRebalance {
    /// The drain begins, as if the interruption had been announced.
    Drain,
    /// Nothing: it may never be interrupted.
    Ignore,
}

/// A target group of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    arn: String,
    name: String,
}

impl TargetGroup {
    /// The target group of an ARN; none if it is not one of a target group.
    pub fn of_arn(arn: &str) -> Option<TargetGroup> {
        let resource = arn.splitn(6, ':').nth(5)?;
        let mut parts = resource.strip_prefix("targetgroup/")?.split('/');
        let (name, id) = (parts.next()?, parts.next()?);
        let is_whole = !name.is_empty() && !id.is_empty() && parts.next().is_none();
        (arn.starts_with("arn:") && is_whole).then(|| TargetGroup {
            arn: arn.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Its ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
