//! The keys of the file: name, type and default, each written here and nowhere else.
//!
//! What comes of it is not checked as a whole yet, and knows where each value stood.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use http::HeaderName;

use super::announcement::Announcement;
use super::edge::{RawAccessLog, RawLimits, RawListenerEdge, RawUpstreamEdge};
use super::platform::RawPlatforms;
use super::route::RawRoute;
use super::section::{Found, Origin, Section};
use super::tls::{RawClientTls, RawServerTls};
use super::types::{
    Bind, CloseOrder, Endpoint, ExitWhenDrained, Forwarded, HookUrl, LateArrivals, ListenerName,
    LogFormat, Protocol, Readiness, Stretch, UpstreamName, Window,
};
use super::upstream::RawBalancing;
use super::value::{self, Size};

/// A file as it was read.
pub(super) struct Raw {
    pub(super) workers: Found<NonZeroUsize>,
    pub(super) listeners: Found<Vec<RawListener>>,
    pub(super) upstreams: Found<Vec<RawUpstream>>,
    pub(super) http: RawHttp,
    pub(super) drain: RawDrain,
    pub(super) limits: RawLimits,
    pub(super) access_log: RawAccessLog,
    pub(super) health: Found<SocketAddr>,
    pub(super) admin: Found<Bind>,
    pub(super) token_file: Found<Option<PathBuf>>,
    pub(super) log_format: Found<LogFormat>,
    pub(super) emf: Found<bool>,
    pub(super) emf_namespace: Found<String>,
    pub(super) platforms: RawPlatforms,
}

/// `[[listener]]`. What must be there and is not, or is wrong, stands reported.
pub(super) struct RawListener {
    /// The path of the table: `listener[0]`.
    pub(super) path: String,
    pub(super) name: Option<Found<ListenerName>>,
    pub(super) bind: Option<Found<SocketAddr>>,
    pub(super) protocol: Option<Found<Protocol>>,
    pub(super) upstream: Option<Found<UpstreamName>>,
    pub(super) routes: Found<Vec<RawRoute>>,
    /// Where `[listener.http]` begins, if it is there.
    pub(super) own_http: Origin,
    pub(super) http: RawHttp,
    pub(super) tls: RawServerTls,
    pub(super) websocket_close_code: Found<u16>,
    pub(super) websocket_close_reason: Found<String>,
    pub(super) close_order: Found<CloseOrder>,
    pub(super) forward_to: Found<Option<Endpoint>>,
    pub(super) close_patience: Found<Option<Duration>>,
    pub(super) websocket_announce: Found<Option<Announcement>>,
    pub(super) websocket_announce_ahead: Found<Duration>,
    pub(super) edge: RawListenerEdge,
}

/// `[http]` and `[listener.http]`.
pub(super) struct RawHttp {
    pub(super) header_timeout: Found<Duration>,
    pub(super) idle_timeout: Found<Duration>,
    pub(super) max_header_bytes: Found<Size>,
    pub(super) max_headers: Found<usize>,
    pub(super) forwarded: Found<Forwarded>,
    pub(super) via: Found<Option<String>>,
    pub(super) health_path: Found<Option<String>>,
    pub(super) client_key: Found<Option<HeaderName>>,
}

/// `[upstream.NAME]`.
pub(super) struct RawUpstream {
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) name: Option<Found<UpstreamName>>,
    pub(super) endpoints: Vec<Found<Endpoint>>,
    pub(super) connect_timeout: Found<Duration>,
    pub(super) response_timeout: Found<Duration>,
    pub(super) idle_timeout: Found<Duration>,
    pub(super) balancing: RawBalancing,
    pub(super) tls: RawClientTls,
    pub(super) edge: RawUpstreamEdge,
}

/// `[drain.hooks]`.
pub(super) struct RawHooks {
    pub(super) lame_duck: Found<Option<HookUrl>>,
    pub(super) closing: Found<Option<HookUrl>>,
    pub(super) drained: Found<Option<HookUrl>>,
    pub(super) on_close: Found<Option<HookUrl>>,
    pub(super) timeout: Found<Duration>,
}

/// `[drain]`.
pub(super) struct RawDrain {
    pub(super) window: Found<Window>,
    pub(super) margin: Found<Duration>,
    pub(super) lame_duck_min: Found<Duration>,
    pub(super) lame_duck_max: Found<Stretch>,
    pub(super) lame_duck_quiet: Found<Duration>,
    pub(super) readiness: Found<Readiness>,
    pub(super) finish: Found<Duration>,
    pub(super) close_timeout: Found<Duration>,
    pub(super) max_closing: Found<NonZeroUsize>,
    pub(super) websocket_close_code: Found<u16>,
    pub(super) websocket_close_reason: Found<String>,
    pub(super) close_order: Found<CloseOrder>,
    pub(super) close_patience: Found<Option<Duration>>,
    pub(super) websocket_announce: Found<Option<Announcement>>,
    pub(super) websocket_announce_ahead: Found<Duration>,
    pub(super) late_arrivals: Found<LateArrivals>,
    pub(super) forward_to: Found<Option<Endpoint>>,
    pub(super) sse_retry: Found<Duration>,
    pub(super) exit_code_when_cut: Found<u8>,
    pub(super) exit_when_drained: Found<ExitWhenDrained>,
    pub(super) report_file: Found<Option<PathBuf>>,
    pub(super) hooks: RawHooks,
}

/// Sessions that are asked to go at once: their clients come back within about a second.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(500).expect("not zero");

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Raw {
    /// Reads the file, whose tables are all in `root`.
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let cores = Found {
            value: cores,
            origin: Origin::Default,
        };
        let said = "one per core that the process may use";
        let workers = root.read_or("workers", value::workers, &cores, said);
        // Before the listeners, whose defaults these are.
        let http = RawHttp::read(&mut root.table("http"));
        let drain = RawDrain::read(&mut root.table("drain"));
        let limits = RawLimits::read(&mut root.table("limits"));
        let listeners = root
            .tables("listener")
            .map_each(|mut table| RawListener::read(&mut table, &http, &drain, &limits));
        let mut admin = root.table("admin");
        let mut log = root.table("log");
        let upstreams = root
            .named_tables("upstream", value::upstream_name)
            .map_each(|(name, mut table)| RawUpstream::read(&mut table, name));
        Self {
            workers,
            listeners,
            upstreams,
            http,
            drain,
            limits,
            access_log: RawAccessLog::read(&mut root.table("access_log")),
            health: root.table("health").read(
                "bind",
                value::socket_address,
                (Ipv4Addr::UNSPECIFIED, 9180).into(),
            ),
            admin: admin.read(
                "bind",
                value::bind,
                Bind::Tcp((Ipv4Addr::LOCALHOST, 9181).into()),
            ),
            token_file: admin.read("token_file", value::file, None),
            log_format: log.read("format", value::log_format, LogFormat::Text),
            emf: log.read("emf", value::switch, false),
            emf_namespace: log.read("emf_namespace", value::namespace, "Lameduck".to_owned()),
            platforms: RawPlatforms::read(&mut root.table("platform")),
        }
    }
}

impl RawListener {
    fn read(table: &mut Section<'_>, http: &RawHttp, drain: &RawDrain, limits: &RawLimits) -> Self {
        let mut own_http = table.table("http");
        Self {
            path: table.path().to_owned(),
            name: table.required("name", value::listener_name, "name = \"chat\""),
            bind: table.required("bind", value::socket_address, "bind = \"0.0.0.0:8080\""),
            protocol: table.required("protocol", value::protocol, "protocol = \"http\""),
            upstream: table.required("upstream", value::upstream_name, "upstream = \"agent\""),
            routes: table
                .tables("route")
                .map_each(|mut route| RawRoute::read(&mut route)),
            own_http: own_http.origin(),
            http: http.overridden(&mut own_http),
            tls: RawServerTls::read(&mut table.table("tls")),
            websocket_close_code: table.read_or(
                "websocket_close_code",
                value::close_code,
                &drain.websocket_close_code,
                "as in [drain]",
            ),
            websocket_close_reason: table.read_or(
                "websocket_close_reason",
                value::close_reason,
                &drain.websocket_close_reason,
                "as in [drain]",
            ),
            close_order: table.read_or(
                "close_order",
                value::close_order,
                &drain.close_order,
                "as in [drain]",
            ),
            forward_to: table.read_or(
                "forward_to",
                value::peer,
                &drain.forward_to,
                "as in [drain]",
            ),
            close_patience: table.read_or(
                "close_patience",
                value::patience,
                &drain.close_patience,
                "as in [drain]",
            ),
            websocket_announce: table.read_or(
                "websocket_announce",
                value::announcement,
                &drain.websocket_announce,
                "as in [drain]",
            ),
            websocket_announce_ahead: table.read_or(
                "websocket_announce_ahead",
                value::positive_duration,
                &drain.websocket_announce_ahead,
                "as in [drain]",
            ),
            edge: RawListenerEdge::read(table, limits),
        }
    }
}

impl RawHttp {
    fn read(table: &mut Section<'_>) -> Self {
        Self {
            header_timeout: table.read("header_timeout", value::positive_duration, secs(10)),
            // Longer than the 60 s of an ALB, which answers 502 when the target hangs up first.
            idle_timeout: table.read("idle_timeout", value::positive_duration, secs(75)),
            max_header_bytes: table.read("max_header_bytes", value::header_bytes, Size(64 << 10)),
            max_headers: table.read("max_headers", value::header_count, 100),
            forwarded: table.read("forwarded", value::forwarded, Forwarded::Append),
            via: table.read("via", value::via, None),
            health_path: table.read("health_path", value::health_path, None),
            client_key: table.read("client_key", value::client_key, None),
        }
    }

    /// What a listener has that says nothing of its own.
    pub(super) fn inherited(&self) -> Self {
        Self {
            header_timeout: self.header_timeout.inherited(),
            idle_timeout: self.idle_timeout.inherited(),
            max_header_bytes: self.max_header_bytes.inherited(),
            max_headers: self.max_headers.inherited(),
            forwarded: self.forwarded.inherited(),
            via: self.via.inherited(),
            health_path: self.health_path.inherited(),
            client_key: self.client_key.inherited(),
        }
    }

    /// The same keys in a listener's own table, with these as the defaults.
    fn overridden(&self, table: &mut Section<'_>) -> Self {
        const SAID: &str = "as in [http]";
        let Self {
            header_timeout,
            idle_timeout,
            max_header_bytes,
            ..
        } = self;
        let Self {
            max_headers,
            forwarded,
            via,
            health_path,
            client_key,
            ..
        } = self;
        let duration = value::positive_duration;
        Self {
            header_timeout: table.read_or("header_timeout", duration, header_timeout, SAID),
            idle_timeout: table.read_or("idle_timeout", duration, idle_timeout, SAID),
            max_header_bytes: table.read_or(
                "max_header_bytes",
                value::header_bytes,
                max_header_bytes,
                SAID,
            ),
            max_headers: table.read_or("max_headers", value::header_count, max_headers, SAID),
            forwarded: table.read_or("forwarded", value::forwarded, forwarded, SAID),
            via: table.read_or("via", value::via, via, SAID),
            health_path: table.read_or("health_path", value::health_path, health_path, SAID),
            client_key: table.read_or("client_key", value::client_key, client_key, SAID),
        }
    }
}

impl RawUpstream {
    fn read(table: &mut Section<'_>, name: Option<Found<UpstreamName>>) -> Self {
        let endpoints = table.required_list(
            "endpoints",
            value::endpoint,
            "endpoints = [\"127.0.0.1:9000\"]",
        );
        Self {
            endpoints,
            ..Self::without_endpoints(table, name)
        }
    }

    /// The upstream that a flag gives the endpoints of.
    pub(super) fn without_endpoints(
        table: &mut Section<'_>,
        name: Option<Found<UpstreamName>>,
    ) -> Self {
        Self {
            path: table.path().to_owned(),
            origin: table.origin(),
            name,
            endpoints: Vec::new(),
            connect_timeout: table.read("connect_timeout", value::positive_duration, secs(5)),
            response_timeout: table.read("response_timeout", value::duration, secs(300)),
            // Shorter than the 5 s after which uvicorn and node hang up, so that it is rare for a
            // request to meet a connection as it closes.
            idle_timeout: table.read("idle_timeout", value::duration, secs(4)),
            balancing: RawBalancing::read(table),
            tls: RawClientTls::read(&mut table.table("tls")),
            edge: RawUpstreamEdge::read(table),
        }
    }
}

impl RawHooks {
    fn read(table: &mut Section<'_>) -> Self {
        Self {
            lame_duck: table.read("lame_duck", value::hook_url, None),
            closing: table.read("closing", value::hook_url, None),
            drained: table.read("drained", value::hook_url, None),
            on_close: table.read("on_close", value::hook_url, None),
            timeout: table.read("timeout", value::positive_duration, secs(1)),
        }
    }
}

impl RawDrain {
    fn read(table: &mut Section<'_>) -> Self {
        let half = Stretch::Share(0.5);
        Self {
            window: table.read("window", value::window, Window::of(secs(300))),
            margin: table.read("margin", value::duration, secs(2)),
            lame_duck_min: table.read("lame_duck_min", value::duration, secs(2)),
            lame_duck_max: table.read("lame_duck_max", value::stretch, half),
            lame_duck_quiet: table.read("lame_duck_quiet", value::duration, secs(3)),
            readiness: table.read("readiness", value::readiness, Readiness::Auto),
            finish: table.read("finish", value::duration, secs(0)),
            close_timeout: table.read("close_timeout", value::positive_duration, secs(5)),
            max_closing: table.read("max_closing", value::at_once, AT_ONCE),
            websocket_close_code: table.read("websocket_close_code", value::close_code, 1012),
            websocket_close_reason: table.read(
                "websocket_close_reason",
                value::close_reason,
                String::new(),
            ),
            close_order: table.read("close_order", value::close_order, CloseOrder::Auto),
            close_patience: table.read("close_patience", value::patience, None),
            websocket_announce: table.read("websocket_announce", value::announcement, None),
            websocket_announce_ahead: table.read(
                "websocket_announce_ahead",
                value::positive_duration,
                secs(5),
            ),
            late_arrivals: table.read("late_arrivals", value::late_arrivals, LateArrivals::Refuse),
            forward_to: table.read("forward_to", value::peer, None),
            sse_retry: table.read("sse_retry", value::duration, secs(5)),
            exit_code_when_cut: table.read("exit_code_when_cut", value::exit_code, 3),
            exit_when_drained: table.read(
                "exit_when_drained",
                value::exit_when_drained,
                ExitWhenDrained::OnSignal,
            ),
            report_file: table.read("report_file", value::file, None),
            hooks: RawHooks::read(&mut table.table("hooks")),
        }
    }
}
