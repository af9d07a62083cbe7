//! A proxy with an agent behind it, and the means to ask it something.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by its panic, and shows what the proxy said"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No wait of any test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A drain that goes as fast as it may.
pub(crate) const QUICK: &str = "[drain]\nwindow = \"10s\"\nmargin = \"0s\"\nlame_duck_min = \"0s\"\n\
                         lame_duck_max = \"500ms\"\nlame_duck_quiet = \"100ms\"\n\
                         exit_code_when_cut = 7\n";

/// The binary, with nothing of ours in its environment.
pub(crate) fn lameduck(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("LAMEDUCK_")) {
        command.env_remove(name);
    }
    command.args(args);
    command
}

/// Waits until `found` finds something.
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits for the end of a process.
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    eventually("the end of a process", || {
        child.try_wait().expect("a child")
    })
}

/// Sends a signal.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id()).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
    rustix::process::kill_process(pid, signal).expect("alive");
}

/// An agent: `lines` echoes, `web` takes requests and never answers.
struct Agent {
    lines: SocketAddr,
    web: SocketAddr,
    /// What has come to `web`.
    asked: Receiver<Vec<u8>>,
}

fn agent() -> Agent {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("bound");
    let (lines, web) = (bind(), bind());
    let addrs = (lines.local_addr(), web.local_addr());
    let (tell, asked) = channel();
    thread::spawn(move || {
        for stream in lines.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = stream.try_clone().expect("a socket");
                let mut writer = stream;
                let _ = std::io::copy(&mut reader, &mut writer);
            });
        }
    });
    thread::spawn(move || {
        for mut stream in web.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let _ = tell.send(buffer[..count].to_vec());
                }
            });
        }
    });
    Agent {
        lines: addrs.0.expect("bound"),
        web: addrs.1.expect("bound"),
        asked,
    }
}

/// A running proxy; killed when this is dropped.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) lines: SocketAddr,
    pub(crate) web: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Receiver<Value>,
    asked: Receiver<Vec<u8>>,
    config: tempfile::NamedTempFile,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts one with these tables in its configuration.
    pub(crate) fn start(tables: &str) -> Proxy {
        Proxy::start_in(&[], tables)
    }

    /// Starts one with these variables in its environment.
    pub(crate) fn start_in(variables: &[(&str, &str)], tables: &str) -> Proxy {
        let agent = agent();
        let listener = |name: &str, protocol: &str| {
            format!(
                "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\n\
                 protocol = \"{protocol}\"\nupstream = \"{name}\"\n"
            )
        };
        let upstream = |name: &str, addr| format!("[upstream.{name}]\nendpoints = [\"{addr}\"]\n");
        let admin = if tables.contains("[admin]") {
            ""
        } else {
            "[admin]\nbind = \"127.0.0.1:0\"\n"
        };
        let text = [
            "workers = 2\n",
            &listener("lines", "tcp"),
            &listener("web", "http"),
            &upstream("lines", agent.lines),
            &upstream("web", agent.web),
            "[health]\nbind = \"127.0.0.1:0\"\n",
            admin,
            tables,
        ]
        .concat();
        let mut config = tempfile::NamedTempFile::new().expect("a file");
        config.write_all(text.as_bytes()).expect("written");
        let path = config.path().to_str().expect("text");
        let mut child = lameduck(&["run", "-c", path, "--log-format", "json"])
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let stderr = child.stderr.take().expect("piped");
        let (tell, log) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(event) => drop(tell.send(event)),
                    Err(_) => eprintln!("{line}"),
                }
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut proxy = Proxy {
            child,
            lines: nowhere,
            web: nowhere,
            health: nowhere,
            admin: nowhere,
            log,
            asked: agent.asked,
            config,
        };
        loop {
            let fields = proxy.next_log()["fields"].clone();
            let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
            let addr = || text("addr").parse().expect("an address");
            match (text("message").as_str(), text("listener").as_str()) {
                ("listening", "lines") => proxy.lines = addr(),
                ("listening", _) => proxy.web = addr(),
                ("health listening", _) => proxy.health = addr(),
                // A unix socket has no address.
                ("admin listening", _) => {
                    proxy.admin = text("addr").parse().unwrap_or(nowhere);
                }
                ("phase", _) if text("phase") == "serving" => return proxy,
                _ => {}
            }
        }
    }

    /// Puts this in the place of a part of its configuration's text.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config.path()).expect("read");
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(self.config.path(), text.replace(from, to)).expect("written");
    }

    fn next_log(&self) -> Value {
        self.log.recv_timeout(PATIENCE).expect("a line of the log")
    }

    /// Waits for what comes to the agent's `web`.
    pub(crate) fn asked(&self) -> String {
        let mut all = Vec::new();
        while !all.windows(4).any(|end| end == b"\r\n\r\n") {
            all.extend(self.asked.recv_timeout(PATIENCE).expect("a request"));
        }
        String::from_utf8(all).expect("text")
    }

    /// A TCP session that has been echoed something.
    pub(crate) fn session(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.lines).expect("served");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(b"hello").expect("sent");
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).expect("echoed");
        stream
    }

    /// A request in flight, which the agent has and does not answer.
    pub(crate) fn request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.web).expect("served");
        let request = b"GET /slow HTTP/1.1\r\nHost: agent\r\n\r\n";
        stream.write_all(request).expect("sent");
        self.asked();
        stream
    }

    /// A call of the API.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Said {
        let host = format!("Host: {}\r\n", self.admin);
        ask(self.admin, method, path, &host, body)
    }

    /// The status.
    pub(crate) fn status(&self) -> Value {
        let said = self.call("GET", "/v1/status", "");
        assert_eq!(said.status, 200, "{said:?}");
        said.json()
    }

    /// Opens the stream of events.
    pub(crate) fn events(&self) -> Events {
        let mut stream = TcpStream::connect(self.admin).expect("served");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let host = self.admin;
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        Events(BufReader::new(stream))
    }

    /// Runs a command against it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = lameduck(args);
        command.env("LAMEDUCK_ADMIN", format!("http://{}", self.admin));
        command
    }

    /// Runs a command against it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("started")
    }
}

/// An open stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event, its name and its data; none when the stream ends.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("a line in time") == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim_end().to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// The next event for which `is` holds.
    pub(crate) fn wait_for(&mut self, what: &str, is: impl Fn(&str, &Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        while let Some((name, data)) = self.next() {
            if is(&name, &data) {
                return data;
            }
            // The stream does not fall silent by itself.
            assert!(Instant::now() < deadline, "not in time: {what}");
        }
        panic!("the stream ended before: {what}")
    }

    /// The report of the drain that ends.
    pub(crate) fn report(&mut self) -> Value {
        self.wait_for("a report", |name, _| name == "report")
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The detail of a problem, which it has to be.
    pub(crate) fn problem(&self) -> String {
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}

/// One request with these fields on a connection of its own.
pub(crate) fn ask(to: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> Said {
    let length = body.len();
    raw(
        to,
        &format!(
            "{method} {path} HTTP/1.1\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\
             \r\n{body}"
        ),
    )
}

/// What is answered to these bytes.
pub(crate) fn raw(to: SocketAddr, request: &str) -> Said {
    let mut stream = TcpStream::connect(to).expect("served");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // One that is refused at once may be closed before it is written whole.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Said {
        status: status.unwrap_or_else(|| panic!("no answer: {answer:?}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}
