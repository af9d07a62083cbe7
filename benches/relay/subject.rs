//! The relays that are compared, each a process of its own on its own core.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wire::Protocol;
use crate::{Result, peers};

/// How long a subject may take until it listens.
const START: Duration = Duration::from_secs(10);

/// One of the relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Relay {
    /// The release binary of this crate.
    Lameduck,
    /// The bare epoll loop of [`crate::floor`].
    Floor,
    /// The task per session of [`crate::tasks`].
    Tasks,
    /// HAProxy, when it is installed.
    Haproxy,
    /// nginx with its stream module, when it is installed.
    Nginx,
}

impl Relay {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 5] = [
        Self::Floor,
        Self::Lameduck,
        Self::Tasks,
        Self::Haproxy,
        Self::Nginx,
    ];

    /// Whether it is a peer in the field, rather than a yardstick of our own.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Haproxy | Self::Nginx)
    }

    /// What it calls itself, or why it can't be run here.
    pub(crate) fn version(self, lameduck: &Path) -> std::result::Result<String, String> {
        let mut command = match self {
            Self::Floor | Self::Tasks => return Ok("of this bench".to_owned()),
            Self::Lameduck => command(lameduck, &["--version"]),
            Self::Haproxy => command("haproxy", &["-v"]),
            Self::Nginx => command("nginx", &["-v"]),
        };
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{self}: {error}"))?;
        if self == Self::Nginx && !Path::new(peers::NGINX_STREAM).exists() {
            return Err(format!("nginx: no {}", peers::NGINX_STREAM));
        }
        // nginx writes its version to stderr.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Ok(said.lines().next().unwrap_or("unknown").trim().to_owned())
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lameduck => "lameduck",
            Self::Floor => "floor (epoll)",
            Self::Tasks => "copy_bidirectional",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        })
    }
}

/// A relay that runs; it ends with this value.
pub(crate) struct Subject {
    relay: Relay,
    process: Child,
    /// Where its clients go.
    pub(crate) address: SocketAddr,
    _files: TempDir,
}

impl Subject {
    /// Starts it in front of `agent`, on the cores of the calling thread, and waits until it listens.
    pub(crate) fn start(
        relay: Relay,
        protocol: Protocol,
        agent: SocketAddr,
        lameduck: &Path,
    ) -> Result<Self> {
        let files = TempDir::new()?;
        let free = free_address()?;
        let (mut process, address) = match relay {
            Relay::Floor | Relay::Tasks => {
                let name = if relay == Relay::Floor {
                    "floor"
                } else {
                    "tasks"
                };
                let mut child = Command::new(std::env::current_exe()?)
                    .args(["--be", name, "--agent", &agent.to_string()])
                    .stdout(Stdio::piped())
                    .spawn()?;
                let out = child.stdout.take().ok_or("no stdout")?;
                (child, first_match(out, |line| line.trim().parse().ok()))
            }
            Relay::Lameduck => {
                let scheme = if protocol == Protocol::Tcp {
                    "tcp"
                } else {
                    "http"
                };
                let mut child = Command::new(lameduck)
                    .args(["run", "--workers", "1", "--log-format", "json"])
                    .args(["--listen", &format!("{scheme}://127.0.0.1:0")])
                    .args(["--upstream", &agent.to_string()])
                    .args(["--health", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
                    .stderr(Stdio::piped())
                    .spawn()?;
                let log = child.stderr.take().ok_or("no stderr")?;
                (child, first_match(log, listening))
            }
            Relay::Haproxy => {
                let file = files.path().join("haproxy.cfg");
                fs::write(&file, peers::haproxy(protocol, free, agent))?;
                (
                    command("haproxy", &["-q", "-db", "-f"]).arg(file).spawn()?,
                    Ok(free),
                )
            }
            Relay::Nginx => {
                let file = files.path().join("nginx.conf");
                fs::write(&file, peers::nginx(protocol, free, agent, files.path()))?;
                let mut nginx = command("nginx", &["-c"]);
                (
                    nginx.arg(file).arg("-p").arg(files.path()).spawn()?,
                    Ok(free),
                )
            }
        };
        let ready = address.and_then(|address| {
            wait_until_it_accepts(&mut process, address)?;
            Ok(address)
        });
        match ready {
            Ok(address) => Ok(Self {
                relay,
                process,
                address,
                _files: files,
            }),
            Err(error) => {
                end(relay, &mut process);
                Err(format!("{relay} did not start: {error}").into())
            }
        }
    }

    /// What went wrong, and whether the process was still there.
    pub(crate) fn blame(&mut self, error: &dyn std::error::Error) -> Box<dyn std::error::Error> {
        let state = match self.process.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            Ok(None) => "it is still running".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("{}: {error} ({state})", self.relay).into()
    }

    /// The process, or the parent of those it consists of.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        end(self.relay, &mut self.process);
    }
}

fn end(relay: Relay, process: &mut Child) {
    // nginx's master has to take its worker with it; the others have nothing that needs to be tidied.
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    match pid {
        Some(pid) if relay == Relay::Nginx => drop(kill_process(pid, Signal::TERM)),
        _ => drop(process.kill()),
    }
    let _ = process.wait();
}

fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// A port that was free a moment ago, for programs that cannot say which one the system chose.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The address of the clients' listener, if this line of lameduck's log tells it.
fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    let own = fields.get("message")? == "listening"
        && !matches!(fields.get("listener")?.as_str()?, "health" | "admin");
    if own {
        fields.get("addr")?.as_str()?.parse().ok()
    } else {
        None
    }
}

/// The first address that `find` sees in what a process says. What it says later is read and dropped, so
/// that it never has to wait for room in the pipe.
fn first_match<R>(out: R, find: fn(&str) -> Option<SocketAddr>) -> Result<SocketAddr>
where
    R: std::io::Read + Send + 'static,
{
    let (found, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(out)
            .lines()
            .map_while(std::result::Result::ok)
        {
            match find(&line) {
                Some(address) => drop(found.send(Ok(address))),
                None if said.len() < 2000 => said = said + "\n" + &line,
                None => {}
            }
        }
        drop(found.send(Err(said)));
    });
    match wait.recv_timeout(START) {
        Ok(Ok(address)) => Ok(address),
        Ok(Err(said)) => Err(format!("it ended without naming its address: {said}").into()),
        Err(_) => Err("it did not name its address".into()),
    }
}

fn wait_until_it_accepts(process: &mut Child, address: SocketAddr) -> Result<()> {
    let give_up = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.try_wait()? {
            return Err(format!("it ended with {status}").into());
        }
        if Instant::now() > give_up {
            return Err(format!("nothing accepts on {address}").into());
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "nobody tells when another program is ready"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
