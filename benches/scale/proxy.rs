//! The proxy that is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Lanes, Place, Protocol, Role, reply};
use crate::measure::Meter;
use crate::rig::child::{START, agent_listener, first_match};
use crate::rig::lameduck::{ANY_PORT, Door, Start, command, listening};
use crate::task;

/// How long an answer of its own may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How it is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) protocol: Protocol,
    pub(crate) workers: usize,
    pub(crate) on: On,
    /// None for the default.
    pub(crate) window: Option<Duration>,
}

/// The process; it ends with this value.
pub(crate) struct Proxy {
    process: Child,
    clients: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    /// One that listens and is ready, and a load in front of and behind it, with no sessions yet.
    pub(crate) fn start(ground: &Ground, setup: Setup) -> Result<(Self, Lanes)> {
        let agent = agent_listener()?;
        let proxy = ground.starting(setup.on, || Self::spawn(ground, setup, &agent))?;
        let place = Place {
            subject: proxy.clients,
            agent,
            tls: None,
        };
        proxy.wait_until_ready()?;
        Ok((proxy, Lanes::new(place, role(setup.protocol))?))
    }

    fn spawn(ground: &Ground, setup: Setup, agent: &TcpListener) -> Result<Self> {
        let mut command = command(Start {
            program: &ground.lameduck,
            scheme: match setup.protocol {
                Protocol::Tcp => "tcp",
                Protocol::WebSocket => "http",
            },
            agent: agent.local_addr()?,
            workers: Some(setup.workers),
            health: ANY_PORT,
        });
        if let Some(window) = setup.window {
            command.args(["--window", &format!("{}s", window.as_secs())]);
        }
        let mut process = command.spawn()?;
        // From here on it ends with this value, whatever fails.
        let log = process.stderr.take().ok_or("no stderr")?;
        let mut proxy = Self {
            process,
            clients: ANY_PORT,
            health: ANY_PORT,
            admin: ANY_PORT,
        };
        let (mut clients, mut health, mut admin) = (None, None, None);
        let doors = first_match(log, move |line| {
            match listening(line)? {
                (Door::Clients, address) => clients = Some(address),
                (Door::Health, address) => health = Some(address),
                (Door::Admin, address) => admin = Some(address),
            }
            Some((clients?, health?, admin?))
        })?;
        (proxy.clients, proxy.health, proxy.admin) = doors;
        Ok(proxy)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let give_up = Instant::now() + START;
        while let Err(error) = get(self.health, "/readyz") {
            if Instant::now() > give_up {
                return Err(format!("it is not ready: {error}").into());
            }
            task::pause(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn clients(&self) -> SocketAddr {
        self.clients
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.pid())
    }

    /// Tells it to drain and end.
    pub(crate) fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.pid())?;
        let pid = Pid::from_raw(pid).ok_or("no pid")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// How it ended, once it has; what it cost is gone from then on.
    pub(crate) fn reap(&mut self) -> Result<ExitStatus> {
        Ok(self.process.wait()?)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.process.kill());
        let _ = self.process.wait();
    }
}

/// What the agent behind it is.
pub(crate) fn role(protocol: Protocol) -> Role {
    match protocol {
        Protocol::Tcp => Role::Echo,
        Protocol::WebSocket => Role::Http,
    }
}

/// A GET as a client of these addresses sends it.
pub(crate) fn request(address: SocketAddr, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")
}

/// The body of the answer, over a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request(address, path).as_bytes())?;
    let (mut got, mut part) = (Vec::new(), [0; 1 << 14]);
    loop {
        let n = socket.read(&mut part)?;
        if n == 0 {
            return Err(format!("{path}: the connection ended early").into());
        }
        got.extend_from_slice(&part[..n]);
        if let Some(reply) = reply(&got)? {
            return Ok(std::str::from_utf8(reply.body)?.to_owned());
        }
    }
}
