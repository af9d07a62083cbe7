//! Lanes: each has one question on its way at a time, over a connection of its own.
//!
//! They ask again as soon as they have their answer, or at moments that are fixed beforehand; they keep their
//! connection, or take a new one for each question. Every answer is checked, every wait is bounded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustls::ClientConfig;

use super::agent::{Agent, Role};
use super::conn::Conn;
use super::exchange::{Exchange, is_greeted, last_words};
use super::lane::{Heard, Keep, Lane, Stage, Then};
use super::set::{Set, Who, is_over};
use crate::Result;

/// How many connections are opened before the first of them has to have answered: below every peer's backlog.
const BATCH: usize = 64;

/// Where the subject's clients go, and where its agent listens.
pub(crate) struct Place {
    pub(crate) subject: SocketAddr,
    pub(crate) agent: TcpListener,
    /// How clients speak TLS, where they do.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// All lanes of one subject, and its agent.
pub(crate) struct Lanes {
    subject: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    set: Set,
    agent: Agent,
    lanes: Vec<Lane>,
    scratch: Vec<u8>,
    /// Lanes that do not rest.
    busy: usize,
    /// Answers that came and were right.
    answers: u64,
    then: Then,
    /// From when it was due to its answer, of each question of paced lanes, with the lane's number.
    delays: Vec<(usize, Duration)>,
}

impl Lanes {
    /// None yet, in front of an agent in this role.
    pub(crate) fn new(place: Place, role: Role) -> Result<Self> {
        let Place {
            subject,
            agent,
            tls,
        } = place;
        let set = Set::new()?;
        let agent = Agent::new(agent, role, &set)?;
        Ok(Self {
            subject,
            tls,
            set,
            agent,
            lanes: Vec::new(),
            scratch: vec![0; 1 << 17],
            busy: 0,
            answers: 0,
            then: Then::Rest,
            delays: Vec::new(),
        })
    }

    /// Adds lanes, each used for one question, so that none is in its starting state.
    pub(crate) fn open(
        &mut self,
        count: usize,
        exchange: &Rc<dyn Exchange>,
        keep: Keep,
        period: Duration,
    ) -> Result<()> {
        self.open_to(self.subject, count, exchange, keep, period)
    }

    /// The same, to another address of the subject.
    pub(crate) fn open_to(
        &mut self,
        to: SocketAddr,
        count: usize,
        exchange: &Rc<dyn Exchange>,
        keep: Keep,
        period: Duration,
    ) -> Result<()> {
        self.then = Then::Rest;
        let last = self.lanes.len() + count;
        while self.lanes.len() < last {
            for _ in 0..BATCH.min(last - self.lanes.len()) {
                self.lanes.push(Lane {
                    to,
                    exchange: Rc::clone(exchange),
                    keep,
                    conn: None,
                    stage: Stage::Rests,
                    number: 0,
                    due: None,
                    owed: VecDeque::new(),
                    period,
                });
                self.start(self.lanes.len() - 1, None)?;
            }
            while self.busy > 0 {
                self.turn(true)?;
            }
        }
        Ok(())
    }

    /// Every lane asks and asks again for this long; returns how many answers there were.
    pub(crate) fn run(&mut self, length: Duration) -> Result<u64> {
        self.run_some(0..self.lanes.len(), length)
    }

    /// The same, but that only these lanes ask.
    pub(crate) fn run_some(
        &mut self,
        lanes: impl Iterator<Item = usize>,
        length: Duration,
    ) -> Result<u64> {
        self.go_on(lanes, length, Then::Again)
    }

    /// So many lanes ask at a time, and the next of all lanes asks once one has its answer.
    pub(crate) fn run_in_turn(&mut self, at_once: usize, length: Duration) -> Result<u64> {
        let first = at_once.min(self.lanes.len());
        self.go_on(0..first, length, Then::Pass(first))
    }

    fn go_on(
        &mut self,
        lanes: impl Iterator<Item = usize>,
        length: Duration,
        then: Then,
    ) -> Result<u64> {
        let (until, before) = (Instant::now() + length, self.answers);
        self.then = then;
        for at in lanes {
            self.start(at, None)?;
        }
        while self.busy > 0 {
            self.turn(true)?;
            if Instant::now() >= until {
                self.then = Then::Rest;
            }
        }
        Ok(self.answers - before)
    }

    /// How many questions each lane has asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = u64> {
        self.lanes.iter().map(|lane| lane.number)
    }

    /// Lanes only listen: `heard` is given a lane's number, what it got, and whether its stream goes on, until each
    /// is over.
    pub(crate) fn listen(
        &mut self,
        heard: &mut dyn FnMut(usize, &mut Conn, bool) -> Result<Heard>,
    ) -> Result<()> {
        let mut open = self.lanes.iter().filter(|lane| lane.conn.is_some()).count();
        while open > 0 {
            for index in 0..self.set.wait()? {
                let (who, flags) = self.set.at(index)?;
                let Who::Client(at) = who else {
                    self.serve_agent(who, flags)?;
                    continue;
                };
                let Some(conn) = &mut self.lanes[at].conn else {
                    continue;
                };
                let goes_on = conn.fill(&mut self.scratch, is_over(flags))?;
                if heard(at, conn, goes_on)? == Heard::IsOver {
                    self.lanes[at].conn = None;
                    open -= 1;
                }
            }
        }
        Ok(())
    }

    /// Every lane asks once a period, for this long, the lanes spread evenly over it; returns from when each
    /// question was due to when its answer was there.
    pub(crate) fn run_paced(&mut self, length: Duration) -> Result<Vec<Duration>> {
        let delays = self.run_paced_by_lane(length)?;
        Ok(delays.into_iter().map(|(_, delay)| delay).collect())
    }

    /// The same, each with its lane's number.
    pub(crate) fn run_paced_by_lane(&mut self, length: Duration) -> Result<Vec<(usize, Duration)>> {
        let start = Instant::now();
        self.then = Then::Rest;
        self.delays = Vec::new();
        let mut due = BinaryHeap::new();
        for (at, lane) in self.lanes.iter().enumerate() {
            // The golden ratio spreads the lanes of each kind, however many there are.
            let share = (at as f64 * 0.618_033_988_749_895).fract();
            due.push(Reverse((start + lane.period.mul_f64(share), at)));
        }
        loop {
            while let Some(&Reverse((moment, at))) = due.peek() {
                if moment > Instant::now() {
                    break;
                }
                due.pop();
                let lane = &mut self.lanes[at];
                let next = moment + lane.period;
                if next < start + length {
                    due.push(Reverse((next, at)));
                }
                if lane.stage == Stage::Rests {
                    self.start(at, Some(moment))?;
                } else {
                    lane.owed.push_back(moment);
                }
            }
            if due.is_empty() && self.busy == 0 {
                return Ok(std::mem::take(&mut self.delays));
            }
            // Without sleeping, since a timer's grain would be part of the delays.
            self.turn(due.is_empty())?;
        }
    }

    /// Starts a question, over a new connection if there is none.
    fn start(&mut self, at: usize, due: Option<Instant>) -> Result<()> {
        self.busy += 1;
        let lane = &mut self.lanes[at];
        lane.due = due;
        if lane.conn.is_some() {
            return self.ask(at);
        }
        let conn = lane.conn.insert(Conn::connect(lane.to, self.tls.as_ref())?);
        if lane.keep == Keep::Open {
            conn.end_with_reset()?;
        }
        self.set.add(&conn.socket, Who::Client(at))?;
        let greeting = lane.exchange.greeting();
        if greeting.is_empty() {
            return self.ask(at);
        }
        lane.stage = Stage::Greets;
        conn.send(|out| out.extend_from_slice(greeting))
    }

    fn ask(&mut self, at: usize) -> Result<()> {
        let lane = &mut self.lanes[at];
        lane.number += 1;
        lane.stage = Stage::Asks;
        let conn = lane.conn.as_mut().ok_or("a lane without a connection")?;
        conn.send(|out| lane.exchange.ask(at, lane.number, out))
    }

    fn turn(&mut self, may_sleep: bool) -> Result<()> {
        let ready = match may_sleep {
            true => self.set.wait()?,
            false => self.set.wait_for(Duration::ZERO)?,
        };
        for index in 0..ready {
            let (who, flags) = self.set.at(index)?;
            match who {
                Who::Client(at) => self.receive(at, flags)?,
                agent => self.serve_agent(agent, flags)?,
            }
        }
        Ok(())
    }

    fn serve_agent(&mut self, who: Who, flags: EventFlags) -> Result<()> {
        match who {
            Who::Listener => self.agent.accept(&self.set),
            Who::Agent(at) => self.agent.serve(at, flags, &mut self.scratch),
            Who::Client(_) => Ok(()),
        }
    }

    fn receive(&mut self, at: usize, flags: EventFlags) -> Result<()> {
        let lane = &mut self.lanes[at];
        let Some(conn) = &mut lane.conn else {
            return Ok(());
        };
        if flags.contains(EventFlags::OUT) {
            conn.flush()?;
        }
        let open = conn.fill(&mut self.scratch, is_over(flags))?;
        if lane.stage == Stage::Greets && is_greeted(&mut conn.got)? {
            return self.ask(at);
        }
        if lane.stage == Stage::Asks
            && let Some(len) = lane.exchange.check(&conn.got, at, lane.number)?
        {
            conn.got.drain(..len);
            if !conn.got.is_empty() {
                return Err("more came than was asked for".into());
            }
            self.answers += 1;
            self.delays.extend(lane.due.map(|due| (at, due.elapsed())));
            if lane.keep == Keep::Open {
                return self.rest(at);
            }
            lane.stage = Stage::Leaves;
            let (words, _) = last_words(lane.exchange.goodbye());
            conn.send(|out| out.extend_from_slice(words))?;
        }
        match (open, lane.stage) {
            (true, _) => Ok(()),
            (false, Stage::Leaves) => {
                let (_, words) = last_words(lane.exchange.goodbye());
                if conn.got != words {
                    return Err("the session did not end as it should".into());
                }
                self.rest(at)
            }
            (false, _) => Err("the subject closed a session".into()),
        }
    }

    /// A lane has its answer.
    fn rest(&mut self, at: usize) -> Result<()> {
        self.busy -= 1;
        let lane = &mut self.lanes[at];
        lane.stage = Stage::Rests;
        if lane.keep == Keep::Once {
            lane.conn = None;
        }
        if let Some(due) = lane.owed.pop_front() {
            return self.start(at, Some(due));
        }
        match self.then {
            Then::Rest => Ok(()),
            Then::Again => self.start(at, None),
            Then::Pass(next) => {
                let count = self.lanes.len();
                // This lane rests at least.
                let next = (next..next + count)
                    .map(|next| next % count)
                    .find(|&next| self.lanes[next].stage == Stage::Rests)
                    .unwrap_or(at);
                self.then = Then::Pass(next + 1);
                self.start(next, None)
            }
        }
    }
}
