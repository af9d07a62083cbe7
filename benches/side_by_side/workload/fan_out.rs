//! Fan-out: the agent tells all of its clients the same, at fixed moments; clients only listen.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::{Figure, Load, Size, Speaks, Traffic, Workload, cpu, micros_each, quantile};
use crate::Result;
use crate::load::{
    Agent, BINARY, Chunks, Conn, Place, Role, Set, Who, head_len, is_over, is_upgraded, pattern,
    upgrade,
};
use crate::measure::Meter;

/// How many get theirs before the load looks whether something has arrived.
const SLICE: usize = 32;
/// The number and the moment at the beginning of what is told, in hexadecimal.
const STAMP: usize = 32;

/// How it is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// A WebSocket message of 1 KiB.
    Frame,
    /// An event of 128 bytes in a chunk of its own.
    Event,
}

const FIGURES: &[Figure] = &[
    cpu("CPU a message"),
    Figure {
        name: "p50 delay",
        unit: "µs",
        compared: false,
    },
    Figure {
        name: "p99 delay",
        unit: "µs",
        compared: true,
    },
];

struct Listener {
    conn: Conn,
    is_in: bool,
    chunks: Chunks,
    plain: Vec<u8>,
    heard: u64,
}

struct FanOut {
    words: Words,
    subject: SocketAddr,
    set: Set,
    agent: Agent,
    listeners: Vec<Listener>,
    /// How many of them have been let in.
    are_in: usize,
    every: Duration,
    start: Instant,
    told: u64,
    /// What follows the stamp.
    filling: Vec<u8>,
    scratch: Vec<u8>,
    delays: Vec<Duration>,
}

pub(super) fn all(size: Size) -> Vec<Workload> {
    let one = |name: &str, title: &str, words: Words, count: usize, every: u64| {
        let count = size.of(count);
        let mut workload = Workload::new(name, title, Speaks::Http, FIGURES, move |place| {
            FanOut::open(place, words, count, Duration::from_millis(every))
        });
        workload.traffic = Traffic::Events;
        workload.fresh = true;
        workload.least = size.turn();
        workload.most_rounds = 10;
        workload
    };
    vec![
        one(
            "broadcast",
            "2,000 WebSockets, the agent tells all of them 1 KiB each 100 ms",
            Words::Frame,
            2000,
            100,
        ),
        one(
            "sse",
            "500 event streams, an event on each every 200 ms",
            Words::Event,
            500,
            200,
        ),
    ]
}

impl Load for FanOut {
    fn turn(&mut self, meter: &Meter, length: Duration) -> Result<Vec<f64>> {
        self.delays.clear();
        let (spent, ()) = meter.cpu_of(|| self.run(length))?;
        Ok(vec![
            micros_each(spent, self.delays.len() as u64),
            quantile(&mut self.delays, 0.5),
            quantile(&mut self.delays, 0.99),
        ])
    }
}

impl FanOut {
    fn open(place: Place, words: Words, count: usize, every: Duration) -> Result<Self> {
        let set = Set::new()?;
        let agent = Agent::new(place.agent, Role::Http, &set)?;
        let filling = match words {
            Words::Frame => pattern(1024 - STAMP),
            Words::Event => vec![b'x'; 128 - STAMP - "data: \n\n".len()],
        };
        let mut fan_out = Self {
            words,
            subject: place.subject,
            set,
            agent,
            listeners: Vec::new(),
            are_in: 0,
            every,
            start: Instant::now(),
            told: 0,
            filling,
            scratch: vec![0; 1 << 16],
            delays: Vec::new(),
        };
        for at in 0..count {
            fan_out.connect(at)?;
            while at % 64 == 63 && fan_out.are_in + 64 <= at {
                fan_out.turn(true)?;
            }
        }
        while fan_out.are_in < count || fan_out.agent.audience.len() < count {
            fan_out.turn(true)?;
        }
        Ok(fan_out)
    }

    fn connect(&mut self, at: usize) -> Result<()> {
        let mut conn = Conn::connect(self.subject, None)?;
        conn.end_with_reset()?;
        self.set.add(&conn.socket, Who::Client(at))?;
        let request = match self.words {
            Words::Frame => upgrade("/push"),
            Words::Event => {
                b"GET /events HTTP/1.1\r\nHost: agent\r\nAccept: text/event-stream\r\n\r\n".to_vec()
            }
        };
        conn.send(|out| out.extend_from_slice(&request))?;
        self.listeners.push(Listener {
            conn,
            is_in: false,
            chunks: Chunks::default(),
            plain: Vec::new(),
            heard: 0,
        });
        Ok(())
    }

    /// Tells for this long, and until all have heard.
    fn run(&mut self, length: Duration) -> Result<()> {
        let (start, mut tick) = (Instant::now(), 0);
        let missing = |all: &Self| {
            all.told * all.listeners.len() as u64
                - all.listeners.iter().map(|one| one.heard).sum::<u64>()
        };
        while self.every * tick < length {
            if start.elapsed() < self.every * tick {
                // Without sleeping, since a timer's grain would be part of the delays.
                self.turn(false)?;
                continue;
            }
            tick += 1;
            self.told += 1;
            let mut message = Vec::new();
            for index in 0..self.agent.audience.len() {
                self.write(&mut message)?;
                self.agent.push(self.agent.audience[index], &message)?;
                if index % SLICE == SLICE - 1 {
                    self.turn(false)?;
                }
            }
        }
        while missing(self) > 0 {
            self.turn(true)?;
        }
        Ok(())
    }

    /// The message with the current number, at this moment.
    fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        use std::io::Write;
        out.clear();
        let now = u64::try_from(self.start.elapsed().as_nanos())?;
        match self.words {
            Words::Frame => out.extend_from_slice(&[BINARY, 126, 4, 0]),
            Words::Event => out.extend_from_slice(b"80\r\ndata: "),
        }
        write!(out, "{:016x}{now:016x}", self.told)?;
        out.extend_from_slice(&self.filling);
        if self.words == Words::Event {
            out.extend_from_slice(b"\n\n\r\n");
        }
        Ok(())
    }

    fn turn(&mut self, may_sleep: bool) -> Result<()> {
        let ready = match may_sleep {
            true => self.set.wait()?,
            false => self.set.wait_for(Duration::ZERO)?,
        };
        for index in 0..ready {
            let (who, flags) = self.set.at(index)?;
            match who {
                Who::Listener => self.agent.accept(&self.set)?,
                Who::Agent(at) => self.agent.serve(at, flags, &mut self.scratch)?,
                Who::Client(at) => self.hear(at, flags)?,
            }
        }
        Ok(())
    }

    fn hear(&mut self, at: usize, flags: EventFlags) -> Result<()> {
        let one = &mut self.listeners[at];
        if !one.conn.fill(&mut self.scratch, is_over(flags))? {
            return Err("the subject closed a session".into());
        }
        if !one.is_in {
            match self.words {
                Words::Frame => one.is_in = is_upgraded(&mut one.conn.got)?,
                Words::Event => {
                    if let Some(head) = head_len(&one.conn.got) {
                        if !one.conn.got.starts_with(b"HTTP/1.1 200") {
                            return Err("no event stream".into());
                        }
                        one.conn.got.drain(..head);
                        one.is_in = true;
                    }
                }
            }
            if !one.is_in {
                return Ok(());
            }
            self.are_in += 1;
        }
        let (bytes, head, tail) = match self.words {
            Words::Frame => (&mut one.conn.got, 4, 0),
            Words::Event => {
                one.chunks.take(&mut one.conn.got, &mut one.plain)?;
                (&mut one.plain, 6, 2)
            }
        };
        let len = head + STAMP + self.filling.len() + tail;
        let whole = bytes.len() - bytes.len() % len;
        for message in bytes[..whole].chunks(len) {
            let said = &message[head..];
            let number = |from: usize| -> Result<u64> {
                let text = std::str::from_utf8(&said[from..from + 16])?;
                Ok(u64::from_str_radix(text, 16)?)
            };
            one.heard += 1;
            if number(0)? != one.heard || said[STAMP..STAMP + self.filling.len()] != self.filling {
                return Err(format!("listener {at}: message {} is not it", one.heard).into());
            }
            let sent = Duration::from_nanos(number(16)?);
            self.delays.push(self.start.elapsed().saturating_sub(sent));
        }
        bytes.drain(..whole);
        Ok(())
    }
}
