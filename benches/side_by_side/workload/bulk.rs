//! Bulk: four connections, both ways at once, as fast as it goes.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, recv};

use super::{Figure, Load, Speaks, Traffic, Workload};
use crate::Result;
use crate::load::{Place, Secure, Set, Who, pattern};
use crate::measure::Meter;

const CONNECTIONS: usize = 4;
/// Written at once.
const WRITE: usize = 1 << 16;
/// Read at once.
const READ: usize = 1 << 17;
/// After so many bytes the stream repeats; no power of two, so that what is lost or doubled shows.
const REPEATS: usize = 65_521;
/// Every so many reads the bytes are looked at; the others only count, so that the load stays cheap.
const LOOK: u64 = 8;

const FIGURES: &[Figure] = &[
    Figure {
        name: "CPU a GB",
        unit: "s",
        compared: true,
    },
    Figure {
        name: "wall time a GB",
        unit: "s",
        compared: false,
    },
];

/// One side of a connection: a stream out, and one in.
struct End {
    socket: TcpStream,
    /// Where it speaks TLS.
    secure: Option<Secure>,
    written: u64,
    read: u64,
    reads: u64,
    /// Something has come. The agent says nothing before, since the first to connect only looks whether the
    /// subject listens.
    has_read: bool,
}

struct Bulk {
    set: Set,
    listener: TcpListener,
    clients: Vec<End>,
    agents: Vec<End>,
    /// The stream, long enough for a write or a read from any place in its first turn.
    stream: Vec<u8>,
    scratch: Vec<u8>,
}

pub(super) fn all() -> Vec<Workload> {
    let bulk = |name: &str, title: &str| {
        let mut bulk = Workload::new(name, title, Speaks::Tcp, FIGURES, Bulk::open);
        bulk.traffic = Traffic::Large;
        bulk
    };
    vec![
        bulk("bulk", "4 TCP connections, both ways as fast as it goes"),
        bulk("tls-bulk", "the same, clients over TLS").over_tls(),
    ]
}

impl Load for Bulk {
    fn turn(&mut self, meter: &Meter, length: Duration) -> Result<Vec<f64>> {
        let start = Instant::now();
        let (spent, bytes) = meter.cpu_of(|| self.run(length))?;
        let each = |time: Duration| time.as_secs_f64() / (bytes as f64 / 1e9);
        Ok(vec![each(spent), each(start.elapsed())])
    }
}

impl Bulk {
    fn open(place: Place) -> Result<Self> {
        let mut bulk = Self {
            set: Set::new()?,
            listener: place.agent,
            clients: Vec::new(),
            agents: Vec::new(),
            stream: pattern(REPEATS).repeat(4),
            scratch: vec![0; READ],
        };
        bulk.listener.set_nonblocking(true)?;
        bulk.set
            .watch(&bulk.listener, Who::Listener, EventFlags::IN)?;
        for at in 0..CONNECTIONS {
            let mut end = End::new(TcpStream::connect(place.subject)?)?;
            end.has_read = true;
            end.secure = match &place.tls {
                Some(tls) => Some(Secure::new(tls)?),
                None => None,
            };
            bulk.set
                .watch(&end.socket, Who::Client(at), EventFlags::IN)?;
            bulk.clients.push(end);
        }
        Ok(bulk)
    }

    /// Streams for this long, and until all has arrived; returns the bytes.
    fn run(&mut self, length: Duration) -> Result<u64> {
        let until = Instant::now() + length;
        let before = self.read();
        let mut flows = true;
        self.interest(flows)?;
        while flows || !self.is_dry() {
            for index in 0..self.set.wait()? {
                let (who, flags) = self.set.at(index)?;
                let end = match who {
                    Who::Listener => {
                        self.accept()?;
                        continue;
                    }
                    Who::Agent(at) => &mut self.agents[at],
                    Who::Client(at) => &mut self.clients[at],
                };
                if flags.contains(EventFlags::OUT) {
                    match flows {
                        true => end.write(&self.stream)?,
                        false => end.write_the_rest(&self.set, who)?,
                    }
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    end.read(&self.stream, &mut self.scratch, &self.set, who)?;
                }
            }
            if flows && Instant::now() > until {
                flows = false;
                self.interest(flows)?;
            }
        }
        Ok(self.read() - before)
    }

    fn accept(&mut self) -> Result<()> {
        let end = End::new(self.listener.accept()?.0)?;
        let who = Who::Agent(self.agents.len());
        self.set.watch(&end.socket, who, EventFlags::IN)?;
        self.agents.push(end);
        Ok(())
    }

    fn interest(&self, flows: bool) -> Result<()> {
        let flags = match flows {
            true => EventFlags::IN | EventFlags::OUT,
            false => EventFlags::IN,
        };
        for (at, end) in self.clients.iter().enumerate() {
            let flags = match end.has_the_rest_to_write() {
                true => flags | EventFlags::OUT,
                false => flags,
            };
            self.set.change(&end.socket, Who::Client(at), flags)?;
        }
        let agents = self.agents.iter().enumerate();
        for (at, end) in agents.filter(|(_, end)| end.has_read) {
            self.set.change(&end.socket, Who::Agent(at), flags)?;
        }
        Ok(())
    }

    fn read(&self) -> u64 {
        let ends = || self.clients.iter().chain(&self.agents);
        ends().map(|end| end.read).sum()
    }

    fn is_dry(&self) -> bool {
        let ends = || self.clients.iter().chain(&self.agents);
        ends().map(|end| end.written).sum::<u64>() == self.read()
    }
}

impl End {
    fn new(socket: TcpStream) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            secure: None,
            written: 0,
            read: 0,
            reads: 0,
            has_read: false,
        })
    }

    fn write(&mut self, stream: &[u8]) -> Result<()> {
        let from = place(self.written)?;
        if let Some(secure) = &mut self.secure {
            // What has been taken waits here until the kernel takes it.
            if secure.is_flushed() {
                secure.say(&stream[from..from + WRITE])?;
                self.written += WRITE as u64;
            }
            return secure.flush(&self.socket);
        }
        match (&self.socket).write(&stream[from..from + WRITE]) {
            Ok(n) => self.written += n as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("a write failed: {error}").into()),
        }
        Ok(())
    }

    fn has_the_rest_to_write(&self) -> bool {
        let secure = self.secure.as_ref();
        secure.is_some_and(|secure| !secure.is_flushed())
    }

    fn write_the_rest(&mut self, set: &Set, who: Who) -> Result<()> {
        if let Some(secure) = &mut self.secure {
            secure.flush(&self.socket)?;
        }
        match self.has_the_rest_to_write() {
            true => Ok(()),
            false => set.change(&self.socket, who, EventFlags::IN),
        }
    }

    /// Reads a record or so, as a client over TLS.
    fn read_secure(&mut self, stream: &[u8], scratch: &mut [u8]) -> Result<()> {
        let Some(secure) = &mut self.secure else {
            return Ok(());
        };
        match secure.read(&self.socket)? {
            Some(true) => {}
            Some(false) => return Err("the subject closed a session".into()),
            None => return Ok(()),
        }
        self.reads += 1;
        loop {
            let n = secure.hear(scratch)?;
            if n == 0 {
                return Ok(());
            }
            look(self.reads, self.read, stream, &scratch[..n])?;
            self.read += n as u64;
        }
    }

    fn read(&mut self, stream: &[u8], scratch: &mut [u8], set: &Set, who: Who) -> Result<()> {
        if self.secure.is_some() {
            return self.read_secure(stream, scratch);
        }
        self.reads += 1;
        let n = if self.reads.is_multiple_of(LOOK) {
            match (&self.socket).read(scratch) {
                Ok(n) => {
                    look(LOOK, self.read, stream, &scratch[..n])?;
                    n
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("a read failed: {error}").into()),
            }
        } else {
            // The kernel throws them away without copying.
            match recv(&self.socket, &mut *scratch, RecvFlags::TRUNC) {
                Ok((_, n)) => n,
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
                Err(error) => return Err(format!("a read failed: {error}").into()),
            }
        };
        if n == 0 && self.has_read {
            return Err("the subject closed a session".into());
        }
        if n == 0 {
            return set.change(&self.socket, who, EventFlags::empty());
        }
        if !self.has_read {
            self.has_read = true;
            set.change(&self.socket, who, EventFlags::IN | EventFlags::OUT)?;
        }
        self.read += n as u64;
        Ok(())
    }
}

/// Compares what was read with what was sent, in every so many reads.
fn look(reads: u64, at: u64, stream: &[u8], got: &[u8]) -> Result<()> {
    let from = place(at)?;
    if reads.is_multiple_of(LOOK) && *got != stream[from..from + got.len()] {
        return Err("bytes have arrived changed".into());
    }
    Ok(())
}

fn place(at: u64) -> Result<usize> {
    Ok(usize::try_from(at % REPEATS as u64)?)
}
