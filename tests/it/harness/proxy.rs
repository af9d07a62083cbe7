//! The proxy as a child process: how it is started, asked, signalled and waited for.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use super::log::{Event, Log};
use super::metrics::Scrape;
use super::wire::{Response, Wire};
use super::within;

/// How long a start, a phase change and the like may take, in seconds.
const SOON: u64 = 20;
/// What its configuration is called.
const FILE: &str = "lameduck.toml";

/// A running proxy. Dropped, it is killed; dropped by a panic, it shows its log.
pub struct Proxy {
    process: OwnedFd,
    /// The process id.
    pub pid: u32,
    /// What it wrote to stderr.
    pub log: Log,
    /// What it wrote to stdout.
    pub stdout: Log,
    exit: watch::Receiver<Option<Exit>>,
    files: TempDir,
}

/// How and when the process ended.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The exit code, or none after a signal.
    pub code: Option<i32>,
    /// When it was seen.
    pub at: Instant,
}

/// A proxy that is yet to be started.
#[derive(Default)]
pub struct Builder {
    listeners: String,
    upstreams: String,
    sections: Vec<(String, Vec<String>)>,
    arguments: Vec<String>,
    configuration: Option<String>,
    environment: Vec<(String, String)>,
    descriptors: Option<u32>,
    unbound: bool,
}

/// The program under test: `LAMEDUCK_TEST_BINARY`, or the one that was built with the tests.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("LAMEDUCK_TEST_BINARY");
    named.map_or_else(|| env!("CARGO_BIN_EXE_lameduck").into(), PathBuf::from)
}

impl Proxy {
    /// A proxy of one worker pair whose listeners are yet to be named.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A proxy of one HTTP listener, called `web`, before `agent`.
    pub fn http(agent: SocketAddr) -> Builder {
        Proxy::builder().listener("web", "http", agent)
    }

    /// A proxy of one TCP listener, called `raw`, before `agent`.
    pub fn tcp(agent: SocketAddr) -> Builder {
        Proxy::builder().listener("raw", "tcp", agent)
    }

    /// Where the listener of this name is bound.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        self.bound(listener)
            .unwrap_or_else(|| panic!("no listener {listener} in the log"))
    }

    fn bound(&self, listener: &str) -> Option<SocketAddr> {
        let named =
            |e: &Event| e.message == "listening" && e.text("listener").as_deref() == Some(listener);
        self.log
            .events()
            .into_iter()
            .find(named)?
            .text("addr")?
            .parse()
            .ok()
    }

    /// Where health and metrics answer.
    pub fn health(&self) -> SocketAddr {
        self.announced("health listening")
    }

    fn announced(&self, message: &str) -> SocketAddr {
        let event = self.log.events().into_iter().find(|e| e.message == message);
        event
            .and_then(|e| e.text("addr")?.parse().ok())
            .unwrap_or_else(|| panic!("no {message}"))
    }

    /// The first event with this message.
    pub async fn event(&self, message: &str) -> Event {
        let find = self
            .log
            .find(|log| log.events().into_iter().find(|e| e.message == message));
        within(SOON, message, find)
            .await
            .unwrap_or_else(|| panic!("ended without {message:?}"))
    }

    /// Waits until the proxy is, or has been, in a phase.
    pub async fn phase(&self, phase: &str) -> Event {
        self.phase_within(SOON, phase).await
    }

    /// [`Proxy::phase`], with a bound in seconds.
    pub async fn phase_within(&self, limit: u64, phase: &str) -> Event {
        let is = |e: &Event| e.message == "phase" && e.text("phase").as_deref() == Some(phase);
        let find = self.log.find(|log| log.events().into_iter().find(is));
        within(limit, phase, find)
            .await
            .unwrap_or_else(|| panic!("ended without being {phase}"))
    }

    /// Waits until the workers have heard of the last phase: they have answered since, each twice,
    /// for their sessions.
    pub async fn settled(&self) {
        let admin = self.announced("admin listening");
        for _ in 0..2 {
            let asked = async {
                let mut wire = Wire::connect(admin).await?;
                let head = "GET /v1/sessions HTTP/1.1\r\nconnection: close\r\n";
                wire.send(format!("{head}host: {admin}\r\n\r\n")).await?;
                wire.response("GET").await
            };
            let answer = within(SOON, "the workers to answer", asked).await;
            assert_eq!(answer.expect("an answer").status, 200);
        }
    }

    /// Whether a phase has been logged already.
    pub fn has_been(&self, phase: &str) -> bool {
        let is = |e: &Event| e.message == "phase" && e.text("phase").as_deref() == Some(phase);
        self.log.events().iter().any(is)
    }

    /// Sends a signal, if the process still runs.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.process, signal);
    }

    /// SIGTERM, and the moment of it.
    pub fn terminate(&self) -> Instant {
        let now = Instant::now();
        self.signal(Signal::TERM);
        now
    }

    /// Waits for the end of the process and of its log.
    pub async fn exit_within(&self, limit: u64) -> Exit {
        let mut exit = self.exit.clone();
        let ended = async {
            let exit = exit.wait_for(Option::is_some).await.unwrap().unwrap();
            self.log.ended().await;
            exit
        };
        within(limit, "the end of the process", ended).await
    }

    /// `GET` on the health listener.
    pub async fn ask_health(&self, path: &str) -> std::io::Result<Response> {
        let mut wire = Wire::connect(self.health()).await?;
        wire.request("GET", path, &[("connection", "close")], b"")
            .await
    }

    /// All metrics now.
    pub async fn scrape(&self) -> std::io::Result<Scrape> {
        let response = self.ask_health("/metrics").await?;
        assert_eq!(response.status, 200, "{}", response.text());
        Ok(Scrape::parse(&response.text()))
    }

    /// Waits until the metrics satisfy `wanted`.
    pub async fn metrics_until(&self, what: &str, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
        let found = async {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                let scrape = self.scrape().await.expect("metrics answer");
                if wanted(&scrape) {
                    return scrape;
                }
            }
        };
        within(SOON, what, found).await
    }

    /// The text of the configuration that was written for it.
    pub fn configuration(&self) -> String {
        std::fs::read_to_string(self.files.path().join(FILE)).unwrap()
    }

    /// Changes the configuration's file, and no more.
    pub fn rewrite(&self, text: &str) {
        let fresh = self.files.path().join("fresh.toml");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.files.path().join(FILE)).unwrap();
    }

    /// The drain report, from its line in the log.
    pub fn report(&self) -> Value {
        let report = self
            .log
            .events()
            .into_iter()
            .find(|e| e.message == "drain report");
        let report = report.and_then(|event| event.text("report"));
        serde_json::from_str(&report.expect("a drain report in the log")).expect("a report in JSON")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the log of the proxy (pid {}):\n{}---",
                self.pid, self.log
            );
        }
        self.signal(Signal::KILL);
    }
}

impl Builder {
    /// Adds a listener on a free loopback port, and the agent behind it.
    pub fn listener(self, name: &str, protocol: &str, agent: SocketAddr) -> Builder {
        self.listener_with(name, protocol, agent, "")
    }

    /// [`Builder::listener`], with more keys of its upstream, each in a line.
    pub fn listener_with(
        mut self,
        name: &str,
        protocol: &str,
        agent: SocketAddr,
        upstream: &str,
    ) -> Builder {
        write!(
            self.listeners,
            "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n\
             upstream = \"{name}-agent\"\n\n"
        )
        .unwrap();
        write!(
            self.upstreams,
            "[upstream.{name}-agent]\nendpoints = [\"{agent}\"]\n{upstream}\n\n"
        )
        .unwrap();
        self
    }

    /// Has the listener that was added last speak TLS.
    pub fn tls(mut self, certificate: &Path, key: &Path) -> Builder {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        write!(
            self.listeners,
            "[listener.tls]\ncertificate_file = {}\nkey_file = {}\n\n",
            quoted(certificate),
            quoted(key)
        )
        .unwrap();
        self
    }

    /// Has late arrivals of the listener that was added last forwarded to this address.
    pub fn forward_to(mut self, peer: SocketAddr) -> Builder {
        let end = self.listeners.trim_end().len();
        self.listeners.truncate(end);
        write!(self.listeners, "\nforward_to = \"{peer}\"\n\n").unwrap();
        self
    }

    /// Adds a key to `[drain]`; `value` is TOML.
    pub fn drain(self, key: &str, value: &str) -> Builder {
        self.set("drain", key, value)
    }

    /// Adds a key to a section; `value` is TOML.
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Builder {
        let line = format!("{key} = {value}");
        match self.sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, lines)) => lines.push(line),
            None => self.sections.push((section.to_owned(), vec![line])),
        }
        self
    }

    /// The whole of the window.
    pub fn window(self, window: &str) -> Builder {
        self.drain("window", &format!("\"{window}\""))
    }

    /// A drain that does not wait for arrivals to end, for tests of what comes after that.
    pub fn brief_lame_duck(self) -> Builder {
        self.drain("lame_duck_min", "\"0s\"")
            .drain("lame_duck_quiet", "\"100ms\"")
    }

    /// The text of the configuration file, instead of the one that the other calls make.
    pub fn configuration(mut self, text: &str) -> Builder {
        self.configuration = Some(text.to_owned());
        self
    }

    /// Adds arguments behind `run` (and, if there are listeners, `-c FILE`).
    pub fn arguments(mut self, arguments: &[&str]) -> Builder {
        self.arguments
            .extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Sets an environment variable of the process.
    pub fn environment(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Limits the file descriptors of the process, softly and hard.
    pub fn descriptors(mut self, limit: u32) -> Builder {
        self.descriptors = Some(limit);
        self
    }

    /// Leaves health and admin at their configured or default addresses.
    pub fn default_health_and_admin(mut self) -> Builder {
        self.unbound = true;
        self
    }

    /// Starts the process and waits until it serves.
    pub async fn start(self) -> Proxy {
        let proxy = self.spawn();
        proxy.phase("serving").await;
        proxy.event("health listening").await;
        proxy
    }

    /// Starts the process, and no more.
    pub fn spawn(self) -> Proxy {
        let files = TempDir::new().unwrap();
        let mut command = self.command(&files);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let pid = child.id();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let stdout = Log::follow(child.stdout.take().unwrap());
        let (told, exit) = watch::channel(None);
        std::thread::spawn(move || {
            let status: ExitStatus = child.wait().expect("a child can be waited for");
            told.send_replace(Some(Exit {
                code: status.code(),
                at: Instant::now(),
            }));
        });
        Proxy {
            process,
            pid,
            log,
            stdout,
            exit,
            files,
        }
    }

    fn command(&self, files: &TempDir) -> Command {
        let binary = binary();
        let mut command = match self.descriptors {
            None => Command::new(binary),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]);
                shell.arg(binary);
                shell
            }
        };
        command.arg("run");
        if let Some(file) = self.file(files) {
            command.arg("-c").arg(file);
        }
        if !self.unbound {
            command.args(["--health", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        }
        command.args(["--log-format", "json"]).args(&self.arguments);
        // What the developer has set must not reach the tests.
        for (name, _) in std::env::vars().filter(|(name, _)| {
            name == "RUST_LOG" || (name.starts_with("LAMEDUCK_") && !name.contains("_TEST_"))
        }) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// The configuration of what was added and set.
    pub fn text(&self) -> String {
        let mut text = "workers = 2\n\n".to_owned() + &self.listeners + &self.upstreams;
        for (section, lines) in &self.sections {
            write!(text, "[{section}]\n{}\n\n", lines.join("\n")).unwrap();
        }
        text
    }

    fn file(&self, files: &TempDir) -> Option<PathBuf> {
        let text = match &self.configuration {
            Some(text) => text.clone(),
            None if self.listeners.is_empty() => return None,
            None => self.text(),
        };
        let path = files.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        Some(path)
    }
}
