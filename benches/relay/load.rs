//! The load: clients and the echoing agent of one subject, in one epoll loop.
//!
//! Each client has one message on its way; when its echo is back and checked, the next leaves at once. Every
//! wait is bounded: a subject that stops answering is an error, not a hang.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::sockopt::set_socket_linger;

use crate::Result;
use crate::wire::{PAYLOAD, Protocol, SWITCHING};

/// The listener's token; clients have their number, the agent's connections theirs with this bit set.
const LISTENER: u64 = u64::MAX;
const AGENT: u64 = 1 << 62;
/// How many connections are opened before the first of them has to have answered: below every peer's backlog.
const BATCH: usize = 64;
/// No answer on any connection for so long means that the subject is stuck.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

struct Client {
    socket: TcpStream,
    /// The answer to the greeting is in.
    greeted: bool,
    /// How many messages were sent; the last one's contents follow from it.
    sent: u64,
    got: Vec<u8>,
}

struct AgentSide {
    socket: TcpStream,
    greeted: bool,
    got: Vec<u8>,
}

/// The clients and the agent of one subject.
pub(crate) struct Load {
    protocol: Protocol,
    subject: SocketAddr,
    set: OwnedFd,
    listener: TcpListener,
    clients: Vec<Client>,
    agents: Vec<Option<AgentSide>>,
    events: Vec<Event>,
    scratch: Vec<u8>,
    /// Clients with a message on its way.
    waiting: usize,
    /// Echoes that came back and were right.
    echoes: u64,
    /// Whether an echo is answered with the next message.
    going_on: bool,
}

impl Load {
    /// A load without connections yet, for a subject whose upstream is `listener`.
    pub(crate) fn new(
        protocol: Protocol,
        subject: SocketAddr,
        listener: TcpListener,
    ) -> Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        listener.set_nonblocking(true)?;
        epoll::add(
            &set,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            protocol,
            subject,
            set,
            listener,
            clients: Vec::new(),
            agents: Vec::new(),
            events: vec![
                Event {
                    flags: EventFlags::empty(),
                    data: EventData::new_u64(0)
                };
                256
            ],
            scratch: vec![0; 4096],
            waiting: 0,
            echoes: 0,
            going_on: false,
        })
    }

    /// Opens `count` more sessions, each used for one message, so that none is in its starting state.
    pub(crate) fn open(&mut self, count: usize) -> Result<()> {
        self.going_on = false;
        let last = self.clients.len() + count;
        while self.clients.len() < last {
            for _ in 0..BATCH.min(last - self.clients.len()) {
                self.connect()?;
            }
            while self.waiting > 0 {
                self.turn()?;
            }
        }
        Ok(())
    }

    /// Plays ping-pong on every session for this long; returns how many round trips that were.
    pub(crate) fn run(&mut self, length: Duration) -> Result<u64> {
        let (until, before) = (Instant::now() + length, self.echoes);
        self.going_on = true;
        for at in 0..self.clients.len() {
            self.send(at)?;
        }
        self.waiting = self.clients.len();
        while self.waiting > 0 {
            self.turn()?;
            self.going_on = Instant::now() < until;
        }
        Ok(self.echoes - before)
    }

    fn connect(&mut self) -> Result<()> {
        let socket = TcpStream::connect(self.subject)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        // Ends with a reset, so that thousands of ports are free again for the next subject.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        let at = self.clients.len();
        epoll::add(
            &self.set,
            &socket,
            EventData::new_u64(at as u64),
            EventFlags::IN,
        )?;
        let greeting = self.protocol.greeting();
        let greeted = greeting.is_empty();
        if !greeted {
            write_whole(&socket, greeting)?;
        }
        self.clients.push(Client {
            socket,
            greeted,
            sent: 0,
            got: Vec::new(),
        });
        self.waiting += 1;
        if greeted { self.send(at) } else { Ok(()) }
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let ready = match epoll::wait(&self.set, &mut events[..], Some(&PATIENCE)) {
            Ok(0) => return Err(format!("no answer on {} connections", self.waiting).into()),
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            match event.data.u64() {
                LISTENER => self.accept()?,
                token if token & AGENT != 0 => self.answer(usize::try_from(token & !AGENT)?)?,
                token => self.receive(usize::try_from(token)?)?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let token = AGENT | self.agents.len() as u64;
        epoll::add(
            &self.set,
            &socket,
            EventData::new_u64(token),
            EventFlags::IN,
        )?;
        let greeted = self.protocol == Protocol::Tcp;
        self.agents.push(Some(AgentSide {
            socket,
            greeted,
            got: Vec::new(),
        }));
        Ok(())
    }

    /// The agent: takes the upgrade, then sends every whole message back.
    fn answer(&mut self, at: usize) -> Result<()> {
        let Some(agent) = &mut self.agents[at] else {
            return Ok(());
        };
        match agent.socket.read(&mut self.scratch) {
            Ok(0) => {
                self.agents[at] = None;
                return Ok(());
            }
            Ok(n) => agent.got.extend_from_slice(&self.scratch[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("the agent's connection broke: {error}").into()),
        }
        if !agent.greeted {
            let Some(head) = head_len(&agent.got) else {
                return Ok(());
            };
            agent.got.drain(..head);
            agent.greeted = true;
            write_whole(&agent.socket, SWITCHING)?;
        }
        let whole = agent.got.len() - agent.got.len() % self.protocol.request_len();
        if whole > 0 {
            let mut out = Vec::with_capacity(whole);
            for request in agent.got[..whole].chunks(self.protocol.request_len()) {
                self.protocol.echo(request, &mut out)?;
            }
            agent.got.drain(..whole);
            write_whole(&agent.socket, &out)?;
        }
        Ok(())
    }

    /// A client: takes the 101, then checks every echo and sends the next message.
    fn receive(&mut self, at: usize) -> Result<()> {
        let client = &mut self.clients[at];
        match client.socket.read(&mut self.scratch) {
            Ok(0) => return Err("the subject closed a session".into()),
            Ok(n) => client.got.extend_from_slice(&self.scratch[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("the subject broke a session: {error}").into()),
        }
        if !client.greeted {
            let Some(head) = head_len(&client.got) else {
                return Ok(());
            };
            if !client.got.starts_with(b"HTTP/1.1 101") {
                let answer = String::from_utf8_lossy(&client.got);
                return Err(format!("the upgrade was refused: {answer}").into());
            }
            client.got.drain(..head);
            client.greeted = true;
            return self.send(at);
        }
        if client.got.len() < self.protocol.answer_len() {
            return Ok(());
        }
        if client.got.len() > self.protocol.answer_len()
            || !self
                .protocol
                .is_echo(&client.got, &payload(at, client.sent))
        {
            return Err(format!("session {at}: message {} came back changed", client.sent).into());
        }
        client.got.clear();
        self.echoes += 1;
        if self.going_on {
            return self.send(at);
        }
        self.waiting -= 1;
        Ok(())
    }

    fn send(&mut self, at: usize) -> Result<()> {
        let client = &mut self.clients[at];
        client.sent += 1;
        let mut message = Vec::with_capacity(self.protocol.request_len());
        self.protocol
            .request(&payload(at, client.sent), &mut message);
        write_whole(&client.socket, &message)
    }
}

/// The contents of a session's message: no two are alike.
fn payload(session: usize, message: u64) -> [u8; PAYLOAD] {
    let mut bytes = [0; PAYLOAD];
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = (message << 20) ^ ((session as u64) << 3) ^ place as u64;
        chunk.copy_from_slice(&word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    bytes
}

/// The length of an HTTP head, once it is whole.
fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// A message is far smaller than a socket's buffer, and there is one at a time: the kernel takes it whole.
fn write_whole(mut socket: &TcpStream, bytes: &[u8]) -> Result<()> {
    match socket.write(bytes)? {
        n if n == bytes.len() => Ok(()),
        n => Err(format!("the kernel took {n} of {} bytes", bytes.len()).into()),
    }
}
