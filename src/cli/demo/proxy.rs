//! The proxy as the demo runs it: in this process, between the agent and the clients.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Error, loopback};
use crate::app::{self, App};
use crate::config::{
    Admin, Balance, Bind, CloseOrder, Config, Drain, Endpoint, ExitWhenDrained, Forwarded, Goodbye,
    Health, Hooks, Http, LateArrivals, Limits, Listener, ListenerEdge, ListenerName, Log,
    LogFormat, Platforms, Protocol, Readiness, Stretch, Upstream, UpstreamEdge, UpstreamName,
    Window,
};
use crate::drain::{Control, Request, Trigger};

/// More than there are.
const CLOSING: NonZeroUsize = NonZeroUsize::new(500).expect("not zero");
/// Enough to show that sessions live on several.
const WORKERS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

/// The running proxy.
pub(super) struct Proxy {
    /// Where it takes HTTP, WebSocket and SSE.
    pub http: SocketAddr,
    /// Where it takes TCP.
    pub tcp: SocketAddr,
    /// Where it answers `/readyz` and `/metrics`.
    pub health: SocketAddr,
    control: Control,
    ended: Receiver<Result<app::Ended, app::Error>>,
}

/// How the proxy ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// What `lameduck run` would exit with.
    pub exit_code: u8,
    /// How long the drain took.
    pub took: Duration,
    /// The bytes that it took from one side and could not hand to the other.
    pub undelivered: u64,
}

impl Proxy {
    /// Starts it before an agent, on a thread of its own.
    ///
    /// # Errors
    /// When it does not start, in its own words.
    pub(super) fn start(
        agent_http: SocketAddr,
        agent_tcp: SocketAddr,
        window: Duration,
    ) -> Result<Proxy, Error> {
        let refused = |error: &dyn std::fmt::Display| Error::Proxy(error.to_string());
        let app = App::bind(config(agent_http, agent_tcp, window)).map_err(|e| refused(&e))?;
        let address = |name| {
            app.listener_addr(name)
                .ok_or_else(|| refused(&"a listener is missing"))
        };
        let (http, tcp, health) = (address("web")?, address("lines")?, app.health_addr());
        let control = app.control();
        let (over, ended) = sync_channel(1);
        thread::Builder::new()
            .name("demo-proxy".to_owned())
            .spawn(move || {
                // Who started the proxy may have gone meanwhile; then nobody asks.
                let _ = over.send(app.run());
            })
            .map_err(Error::Start)?;
        Ok(Proxy {
            http,
            tcp,
            health,
            control,
            ended,
        })
    }

    /// Begins the drain, as a signal would: the proxy is to be gone after it.
    pub(super) fn drain(&self) {
        let reason = Some("the demo".to_owned());
        self.control.start(Request {
            trigger: Trigger::Signal,
            part: None,
            window: None,
            looks_away: false,
            reason,
        });
    }

    /// Waits so long for the end of the drain.
    ///
    /// # Errors
    /// When the proxy could not run, or its thread has gone without a word.
    pub(super) fn ended(&self, wait: Duration) -> Result<Option<Ended>, Error> {
        match self.ended.recv_timeout(wait) {
            Ok(Ok(app::Ended {
                exit_code,
                report: Some(report),
            })) => Ok(Some(Ended {
                exit_code,
                took: report
                    .ended
                    .duration_since(report.started)
                    .unwrap_or_default(),
                undelivered: report.undelivered_bytes.values().sum(),
            })),
            Ok(Ok(app::Ended { report: None, .. })) => {
                Err(Error::Proxy("it ended before its drain".to_owned()))
            }
            Ok(Err(error)) => Err(Error::Proxy(error.to_string())),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Vanished("proxy")),
        }
    }
}

fn config(agent_http: SocketAddr, agent_tcp: SocketAddr, window: Duration) -> Config {
    let http = Http {
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        max_header_bytes: 64 * 1024,
        max_headers: 100,
        forwarded: Forwarded::Append,
        via: None,
        health_path: None,
        client_key: None,
    };
    let listener = |name: &str, protocol| Listener {
        routes: Vec::new(),
        name: ListenerName(name.into()),
        bind: loopback(0),
        protocol,
        upstream: UpstreamName(name.into()),
        http: http.clone(),
        goodbye: Goodbye {
            close_code: 1012,
            close_reason: "the demo".to_owned(),
            close_order: CloseOrder::Auto,
            close_patience: None,
            announcement: None,
            announce_ahead: Duration::from_secs(5),
        },
        forward_to: None,
        tls: None,
        edge: ListenerEdge::default(),
    };
    let upstream = |name: &str, agent: SocketAddr| Upstream {
        name: UpstreamName(name.into()),
        endpoints: vec![Endpoint(agent.to_string().into())],
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::ZERO,
        idle_timeout: Duration::from_secs(60),
        balance: Balance::Least,
        slow_start: Duration::ZERO,
        resolve_interval: Duration::from_secs(30),
        check: None,
        eject: None,
        tls: None,
        edge: UpstreamEdge::default(),
    };
    Config {
        workers: WORKERS,
        listeners: vec![
            listener("web", Protocol::Http),
            listener("lines", Protocol::Tcp),
        ],
        upstreams: vec![upstream("web", agent_http), upstream("lines", agent_tcp)],
        drain: Drain {
            window: Window::of(window),
            margin: Duration::from_secs(2),
            lame_duck_min: Duration::from_secs(2),
            lame_duck_max: Stretch::Share(0.5),
            lame_duck_quiet: Duration::from_secs(2),
            readiness: Readiness::Auto,
            finish: Duration::ZERO,
            close_timeout: Duration::from_secs(5),
            max_closing: CLOSING,
            late_arrivals: LateArrivals::Refuse,
            sse_retry: Duration::from_secs(5),
            exit_code_when_cut: 3,
            exit_when_drained: ExitWhenDrained::OnSignal,
            report_file: None,
            hooks: Hooks::default(),
        },
        limits: Limits::default(),
        health: Health { bind: loopback(0) },
        admin: Admin {
            bind: Bind::Tcp(loopback(0)),
            token: None,
        },
        access_log: None,
        log: Log {
            format: LogFormat::Text,
            emf: None,
        },
        platforms: Platforms::default(),
    }
}
