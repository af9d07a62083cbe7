//! Stalled sessions: the agent has a megabyte to say, and the client does not read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::ping_pong::speaks;
use super::{Figure, Load, Size, Workload};
use crate::Result;
use crate::load::{Agent, Conn, Place, Protocol, Role, Set, Who, upgrade};
use crate::measure::Meter;

/// Sessions that have come, stalled and gone before the first reading of memory.
const FIRST: usize = 100;
/// A client's receive buffer, so that it is the subject's that fill.
const WINDOW: usize = 8 * 1024;
/// A client's segments are those of a real network: with loopback's, the kernel alone would take megabytes for it.
const MSS: u32 = 1460;
/// Nothing moves any more when nothing has for so long.
const CALM: Duration = Duration::from_millis(500);
/// The same, with few sessions.
const SOON_CALM: Duration = Duration::from_millis(50);

const FIGURES: &[Figure] = &[
    Figure {
        name: "memory a session",
        unit: "bytes",
        compared: true,
    },
    Figure {
        name: "left when they are gone",
        unit: "bytes",
        compared: true,
    },
];

struct Stalled {
    protocol: Protocol,
    subject: SocketAddr,
    set: Set,
    agent: Agent,
    clients: Vec<Conn>,
    scratch: Vec<u8>,
    count: usize,
}

pub(super) fn all(size: Size) -> Vec<Workload> {
    let count = size.of(4000);
    let one = |protocol: Protocol| {
        let mut workload = Workload::new(
            format!("stalled-{}", protocol.name()),
            format!(
                "{count} sessions over {} whose clients do not read",
                protocol.name()
            ),
            speaks(protocol),
            FIGURES,
            move |place| Stalled::new(place, protocol, count),
        );
        workload.has_floor = false;
        workload.fresh = true;
        workload.most_rounds = 1;
        workload
    };
    vec![one(Protocol::Tcp), one(Protocol::WebSocket)]
}

impl Load for Stalled {
    fn turn(&mut self, meter: &Meter, _: Duration) -> Result<Vec<f64>> {
        self.open(FIRST)?;
        self.calm()?;
        self.clients.clear();
        self.calm()?;
        let settled = meter.memory()?;
        self.open(self.count)?;
        self.calm()?;
        let full = meter.memory()?;
        self.clients.clear();
        self.calm()?;
        let after = meter.memory()?;
        let each = |memory: u64| (memory as f64 - settled as f64) / self.count as f64;
        Ok(vec![each(full), each(after)])
    }
}

impl Stalled {
    fn new(place: Place, protocol: Protocol, count: usize) -> Result<Self> {
        let set = Set::new()?;
        let role = match protocol {
            Protocol::Tcp => Role::Flood(1 << 20),
            Protocol::WebSocket => Role::Http,
        };
        Ok(Self {
            protocol,
            subject: place.subject,
            agent: Agent::new(place.agent, role, &set)?,
            set,
            clients: Vec::new(),
            scratch: vec![0; 1 << 16],
            count,
        })
    }

    fn open(&mut self, count: usize) -> Result<()> {
        let greeting = match self.protocol {
            Protocol::Tcp => b"go".to_vec(),
            Protocol::WebSocket => upgrade("/flood"),
        };
        for at in 0..count {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_recv_buffer_size(WINDOW)?;
            socket.set_tcp_mss(MSS)?;
            socket.connect(&self.subject.into())?;
            let mut conn = Conn::new(socket.into())?;
            conn.end_with_reset()?;
            conn.send(|out| out.extend_from_slice(&greeting))?;
            self.clients.push(conn);
            if at % 32 == 31 {
                self.turn(Duration::from_millis(20))?;
            }
        }
        Ok(())
    }

    /// Serves until nothing moves any more.
    fn calm(&mut self) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs(60);
        let calm = match self.count > FIRST {
            true => CALM,
            false => SOON_CALM,
        };
        while self.turn(calm)? > 0 {
            if Instant::now() > give_up {
                return Err("the sessions do not come to rest".into());
            }
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> Result<usize> {
        let ready = self.set.wait_for(timeout)?;
        for index in 0..ready {
            match self.set.at(index)? {
                (Who::Listener, _) => self.agent.accept(&self.set)?,
                (Who::Agent(at), flags) => self.agent.serve(at, flags, &mut self.scratch)?,
                (Who::Client(_), _) => {}
            }
        }
        Ok(ready)
    }
}
