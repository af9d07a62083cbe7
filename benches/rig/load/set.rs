//! The readiness set of the load: who of clients and agent has something to do.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::Result;

const LISTENER: u64 = u64::MAX;
/// Set in the token of the agent's side of a connection.
const AGENT: u64 = 1 << 62;
/// Nothing at all for so long means that the subject is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whose socket it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// The agent's listener.
    Listener,
    /// A connection that the agent accepted.
    Agent(usize),
    /// A client.
    Client(usize),
}

/// The readiness set.
pub(crate) struct Set {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Set {
    pub(crate) fn new() -> Result<Self> {
        let nothing = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: vec![nothing; 256],
        })
    }

    /// Watches both directions, each told of once (edge-triggered).
    pub(crate) fn add(&self, socket: &impl AsFd, who: Who) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        self.watch(socket, who, flags)
    }

    /// Watches for these.
    pub(crate) fn watch(&self, socket: &impl AsFd, who: Who, flags: EventFlags) -> Result<()> {
        Ok(epoll::add(&self.epoll, socket, token(who), flags)?)
    }

    /// Watches for these from now on.
    pub(crate) fn change(&self, socket: &impl AsFd, who: Who, flags: EventFlags) -> Result<()> {
        Ok(epoll::modify(&self.epoll, socket, token(who), flags)?)
    }

    /// Waits; that nothing happens is an error.
    pub(crate) fn wait(&mut self) -> Result<usize> {
        match self.wait_for(PATIENCE)? {
            0 => Err("no answer for 20 s".into()),
            ready => Ok(ready),
        }
    }

    /// Waits no longer than this; returns how many have something to do.
    pub(crate) fn wait_for(&mut self, timeout: Duration) -> Result<usize> {
        let timeout = Timespec::try_from(timeout)?;
        loop {
            match epoll::wait(&self.epoll, &mut self.events[..], Some(&timeout)) {
                Ok(ready) => return Ok(ready),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One of those that the last wait has found.
    pub(crate) fn at(&self, index: usize) -> Result<(Who, EventFlags)> {
        let event = &self.events[index];
        let who = match event.data.u64() {
            LISTENER => Who::Listener,
            token if token & AGENT != 0 => Who::Agent(usize::try_from(token & !AGENT)?),
            token => Who::Client(usize::try_from(token)?),
        };
        Ok((who, event.flags))
    }
}

fn token(who: Who) -> EventData {
    EventData::new_u64(match who {
        Who::Listener => LISTENER,
        Who::Agent(at) => AGENT | at as u64,
        Who::Client(at) => at as u64,
    })
}

/// Whether the other side has ended or broken the connection.
pub(crate) fn is_over(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
}
