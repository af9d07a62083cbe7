//! A proxy with an agent that echoes, its log, and a tiny HTTP server to be its platform.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// No wait of any test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A drain that goes as fast as it may.
pub(crate) const QUICK: &str = "[drain]\nwindow = \"10s\"\nmargin = \"0s\"\nlame_duck_min = \"0s\"\n\
                         lame_duck_max = \"500ms\"\nlame_duck_quiet = \"100ms\"\n\
                         exit_code_when_cut = 7\n";

/// A drain that stays in `lame_duck`, where it can be cancelled.
pub(crate) const SLOW: &str = "[drain]\nwindow = \"60s\"\nlame_duck_min = \"30s\"\n";

/// The binary, with nothing of ours or of a service manager's in its environment.
pub(crate) fn lameduck() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
    clean(&mut command);
    command
}

/// Takes what the proxy listens to out of a command's environment.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let others = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "GCE_METADATA_HOST"];
        if text.starts_with("LAMEDUCK_") || text.starts_with("LISTEN_") || others.contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
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

/// An agent that echoes.
pub(crate) fn agent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let mut writer = stream;
                let _ = std::io::copy(&mut reader, &mut writer);
            });
        }
    });
    addr
}

/// The configuration of one TCP listener `raw` before an agent, and these tables.
pub(crate) fn config(bind: SocketAddr, tables: &str) -> tempfile::NamedTempFile {
    let agent = agent();
    let local = "bind = \"127.0.0.1:0\"\n";
    let text = format!(
        "workers = 2\n[[listener]]\nname = \"raw\"\nbind = \"{bind}\"\nprotocol = \"tcp\"\n\
         upstream = \"agent\"\n[upstream.agent]\nendpoints = [\"{agent}\"]\n[health]\n{local}\
         [admin]\n{local}{tables}"
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Where the system chooses a port.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A running proxy; killed when this is dropped.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) raw: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) health: SocketAddr,
    /// What was said before it served.
    early: RefCell<VecDeque<Value>>,
    log: Receiver<Value>,
    _config: tempfile::NamedTempFile,
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
        Proxy::start_as(lameduck(), config(anywhere(), tables))
    }

    /// Runs it by a command that wants its arguments, until it serves.
    pub(crate) fn start_as(command: Command, config: tempfile::NamedTempFile) -> Proxy {
        let mut proxy = Proxy::spawn(command, config);
        let mut early = VecDeque::new();
        loop {
            let line = proxy.next_log();
            let fields = line["fields"].clone();
            let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
            match text("message").as_str() {
                "listening" => proxy.raw = text("addr").parse().unwrap(),
                "health listening" => proxy.health = text("addr").parse().unwrap(),
                "admin listening" => proxy.admin = text("addr").parse().unwrap(),
                "phase" if text("phase") == "serving" => {
                    proxy.early = early.into();
                    return proxy;
                }
                _ => early.push_back(line),
            }
        }
    }

    fn spawn(mut command: Command, config: tempfile::NamedTempFile) -> Proxy {
        let path = config.path().to_str().unwrap();
        let arguments = ["run", "-c", path, "--log-format", "json"];
        let mut child = command
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tell, log) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                if let Ok(event) = serde_json::from_str(&line) {
                    let _ = tell.send(event);
                }
            }
        });
        Proxy {
            child,
            raw: anywhere(),
            admin: anywhere(),
            health: anywhere(),
            early: RefCell::default(),
            log,
            _config: config,
        }
    }

    /// The next line of the log that is JSON.
    pub(crate) fn next_log(&self) -> Value {
        let early = self.early.borrow_mut().pop_front();
        early.unwrap_or_else(|| self.log.recv_timeout(PATIENCE).expect("a line of the log"))
    }

    /// What is left of the log of a process that has ended.
    pub(crate) fn rest_of_log(&self) -> Vec<Value> {
        self.log.iter().collect()
    }

    /// The fields of the next event of the log for which `is` holds.
    pub(crate) fn logged(&self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next_log();
            if is(&line["fields"]) {
                return line["fields"].clone();
            }
        }
    }

    /// Waits for an event of this message.
    pub(crate) fn says(&self, message: &str) -> Value {
        self.logged(|fields| fields["message"] == message)
    }

    /// Waits for the phase.
    pub(crate) fn enters(&self, phase: &str) {
        self.logged(|fields| fields["message"] == "phase" && fields["phase"] == phase);
    }

    /// A TCP session that has been echoed something.
    pub(crate) fn session(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.raw).unwrap();
        echoed(&mut stream);
        stream
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the end of the proxy", || self.child.try_wait().unwrap())
    }

    /// A call of the API that has to go well.
    pub(crate) fn call(&self, method: &str, path: &str) -> Value {
        serde_json::from_str(&ask(self.admin, method, path)).unwrap()
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> String {
        ask(self.health, "GET", "/metrics")
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(tasks).unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }
}

/// The body of an answer that has to be a good one.
fn ask(host: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 2"), "{answer}");
    body.to_owned()
}

/// Checks that what is sent comes back.
pub(crate) fn echoed(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
}

/// A request to the fake of a platform.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Serves HTTP on its own threads: `answer` gives the status, further fields, and the body.
pub(crate) fn fake(
    answer: impl Fn(&Asked) -> (u16, String, String) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(stream, answer));
        }
    });
    addr
}

fn serve(stream: TcpStream, answer: impl Fn(&Asked) -> (u16, String, String)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let mut words = head.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let head = head.to_lowercase();
    let length = head.split_once("content-length: ");
    let length = length.and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let asked = Asked {
        method,
        target,
        head,
        body: String::from_utf8(body).unwrap(),
    };
    let (status, fields, body) = answer(&asked);
    let length = body.len();
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
}
