//! Other proxies in Lameduck's place, each set up for the best drain that it offers.
//!
//! The configurations are in `tests/it/peers/`; whoever knows a better one is welcome.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::proxy::Exit;
use super::wire::Wire;
use super::{patience, within};

/// For so long, in seconds, a peer serves on while the balancer looks away.
const NOTICE: u64 = 5;
/// So long before the end of the window a peer cuts what it still has.
const MARGIN: u64 = 2;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGUSR1, `grace` and `hard-stop-after`.
    Haproxy,
    /// SIGQUIT and `worker_shutdown_timeout`.
    Nginx,
    /// A graceful drain of the listeners, and `/quitquitquit`.
    Envoy,
    /// SIGTERM, `shutdown_delay` and `grace_period`.
    Caddy,
}

/// What stands behind the three listeners.
#[derive(Clone, Copy)]
pub struct Behind {
    /// WebSockets.
    pub chat: SocketAddr,
    /// HTTP.
    pub web: SocketAddr,
    /// TCP.
    pub raw: SocketAddr,
}

/// A running peer. Dropped, it is killed.
pub struct Peer {
    kind: Kind,
    child: Child,
    /// In seconds.
    window: u64,
    /// Where WebSockets come to.
    pub chat: SocketAddr,
    /// Where HTTP comes to.
    pub web: SocketAddr,
    /// Where TCP comes to, if the peer can.
    pub raw: Option<SocketAddr>,
    /// Where the balancer asks.
    pub health: SocketAddr,
    files: TempDir,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Haproxy, Kind::Nginx, Kind::Envoy, Kind::Caddy];

    /// The program.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Haproxy => "haproxy",
            Kind::Nginx => "nginx",
            Kind::Envoy => "envoy",
            Kind::Caddy => "caddy",
        }
    }

    /// Its name with its version; nothing, where it is not installed.
    pub fn version(self) -> Option<String> {
        let question = match self {
            Kind::Haproxy | Kind::Nginx => "-v",
            Kind::Envoy => "--version",
            Kind::Caddy => "version",
        };
        let output = Command::new(self.program()).arg(question).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let words = said.split(|c: char| c.is_whitespace() || "/-".contains(c));
        let is_version = |word: &&str| {
            let digits = word.trim_start_matches('v');
            digits.contains('.') && digits.starts_with(|c: char| c.is_ascii_digit())
        };
        let version = words.map(str::trim).find(is_version)?;
        Some(format!(
            "{} {}",
            self.program(),
            version.trim_start_matches('v')
        ))
    }

    /// The path on which the balancer asks.
    pub fn health_path(self) -> &'static str {
        match self {
            Kind::Envoy => "/ready",
            _ => "/readyz",
        }
    }

    fn template(self) -> (&'static str, &'static str) {
        match self {
            Kind::Haproxy => ("haproxy.cfg", include_str!("../peers/haproxy.cfg")),
            Kind::Nginx => ("nginx.conf", include_str!("../peers/nginx.conf")),
            Kind::Envoy => ("envoy.yaml", include_str!("../peers/envoy.yaml")),
            Kind::Caddy => ("Caddyfile", include_str!("../peers/Caddyfile")),
        }
    }

    /// The command that runs it in the foreground.
    fn command(self, file: &std::path::Path, rest: u64) -> Command {
        let mut command = Command::new(self.program());
        match self {
            Kind::Haproxy => command.args(["-q", "-db", "-f"]).arg(file),
            Kind::Nginx => command.arg("-c").arg(file),
            Kind::Envoy => command
                .args(["--concurrency", "2", "--disable-hot-restart", "-l", "error"])
                .args(["--drain-time-s", &rest.to_string(), "-c"])
                .arg(file),
            Kind::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(file),
        };
        command
    }
}

impl Peer {
    /// Starts it before these, for a drain of so many seconds.
    pub async fn start(kind: Kind, behind: Behind, window: u64) -> Peer {
        let files = TempDir::new().unwrap();
        let [health, chat, web, raw] = std::array::from_fn(|_| {
            // A port that was free a moment ago: these cannot say which one the system chose.
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.local_addr().unwrap()
        });
        let rest = window - NOTICE - MARGIN;
        let (name, template) = kind.template();
        let mut text = template.to_owned();
        let addrs = [
            ("health", health),
            ("chat", chat),
            ("web", web),
            ("raw", raw),
            ("chat_agent", behind.chat),
            ("web_agent", behind.web),
            ("raw_agent", behind.raw),
        ];
        for (name, addr) in addrs {
            text = text.replace(&format!("{{{name}}}"), &addr.to_string());
            text = text.replace(&format!("{{{name}_port}}"), &addr.port().to_string());
        }
        for (name, seconds) in [("notice", NOTICE), ("rest", rest), ("spread", rest - 2)] {
            text = text.replace(&format!("{{{name}}}"), &seconds.to_string());
        }
        text = text.replace("{dir}", &files.path().display().to_string());
        let file = files.path().join(name);
        std::fs::write(&file, text).unwrap();
        let mut command = kind.command(&file, rest);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let peer = Peer {
            kind,
            child,
            window,
            chat,
            web,
            raw: (kind != Kind::Caddy).then_some(raw),
            health,
            files,
        };
        within(20, "the peer to serve", peer.serves()).await;
        peer
    }

    async fn serves(&self) {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            let fronts = [Some(self.chat), Some(self.web), self.raw];
            let mut open = true;
            for front in fronts.into_iter().flatten() {
                open &= Wire::connect(front).await.is_ok();
            }
            if open && self.ask("GET", self.kind.health_path()).await == Some(200) {
                return;
            }
        }
    }

    async fn ask(&self, method: &str, path: &str) -> Option<u16> {
        let mut wire = Wire::connect(self.health).await.ok()?;
        let close = [("connection", "close"), ("content-length", "0")];
        let answer = wire.request(method, path, &close, b"").await;
        answer.ok().map(|answer| answer.status)
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Drains it as its operators do. Ends when there is nothing left to say to it.
    pub async fn drain(&self) {
        match self.kind {
            Kind::Haproxy => self.signal(Signal::USR1),
            Kind::Caddy => self.signal(Signal::TERM),
            Kind::Nginx => {
                std::fs::write(self.files.path().join("stop"), "").unwrap();
                tokio::time::sleep(Duration::from_secs(NOTICE)).await;
                self.signal(Signal::QUIT);
            }
            Kind::Envoy => {
                assert_eq!(self.ask("POST", "/healthcheck/fail").await, Some(200));
                let drained = self.ask("POST", "/drain_listeners?graceful").await;
                assert_eq!(drained, Some(200));
                tokio::time::sleep(Duration::from_secs(self.window - MARGIN)).await;
                self.ask("POST", "/quitquitquit").await;
            }
        }
    }

    /// Waits for its end, until some seconds after the window; then there is none.
    pub async fn exit(&mut self, begun: Instant) -> Option<Exit> {
        let limit = patience(Duration::from_secs(self.window + 5));
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while begun.elapsed() < limit {
            pace.tick().await;
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(Exit {
                    code: status.code(),
                    at: Instant::now(),
                });
            }
        }
        None
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // nginx's master has to take its workers with it.
        if self.kind == Kind::Nginx {
            self.signal(Signal::TERM);
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
