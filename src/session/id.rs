//! Names of things that are counted.

use std::fmt;
use std::str::FromStr;

/// Which worker; a worker is one core's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerIndex(pub u16);

/// Which listener, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerIndex(pub u16);

/// Which endpoint of which upstream. One that has left its upstream is not followed by another of
/// the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId {
    /// The upstream, in the order of the configuration.
    pub upstream: u16,
    /// In the order of joining.
    pub member: u32,
}

/// Where on its worker a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the pump's slab, as data.
    Pump,
    /// In the hands of hyper, in a task.
    Http,
}

/// One session of this process, unique for its life.
///
/// It says which worker to ask and where to look there, so that an order finds its session
/// without a table: 11 bits of worker, one of home, 24 of slot, and 28 that tell apart those that
/// had the slot one after another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

const SLOT_BITS: u32 = 24;
const TURN_BITS: u32 = 28;
const HOME_SHIFT: u32 = SLOT_BITS + TURN_BITS;
const WORKER_SHIFT: u32 = HOME_SHIFT + 1;

impl SessionId {
    /// The id of whoever has `slot` for the `turn`th time.
    pub fn new(worker: WorkerIndex, home: Home, slot: usize, turn: u32) -> SessionId {
        let slot = slot as u64 & ((1 << SLOT_BITS) - 1);
        let turn = u64::from(turn) & ((1 << TURN_BITS) - 1);
        let home = u64::from(home == Home::Http);
        let worker = u64::from(worker.0) << WORKER_SHIFT;
        SessionId(worker | home << HOME_SHIFT | turn << SLOT_BITS | slot)
    }

    /// The worker that holds it.
    pub fn worker(self) -> WorkerIndex {
        WorkerIndex((self.0 >> WORKER_SHIFT) as u16)
    }

    /// Where on that worker.
    pub fn home(self) -> Home {
        if self.0 >> HOME_SHIFT & 1 == 1 {
            Home::Http
        } else {
            Home::Pump
        }
    }

    /// The slot in that home's slab.
    pub fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is not a session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session's id is 16 hexadecimal digits")]
pub struct NoSessionId;

impl FromStr for SessionId {
    type Err = NoSessionId;

    fn from_str(text: &str) -> Result<SessionId, NoSessionId> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u64::from_str_radix(text, 16).ok());
        id.flatten().map(SessionId).ok_or(NoSessionId)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_back_what_it_was_made_of() {
        let id = SessionId::new(WorkerIndex(37), Home::Http, 9_001, 70_000);
        assert_eq!(id.worker(), WorkerIndex(37));
        assert_eq!(id.home(), Home::Http);
        assert_eq!(id.slot(), 9_001);
        assert_ne!(
            id,
            SessionId::new(WorkerIndex(37), Home::Http, 9_001, 70_001)
        );
        assert_ne!(
            id,
            SessionId::new(WorkerIndex(37), Home::Pump, 9_001, 70_000)
        );
    }

    #[test]
    fn an_id_reads_back_as_it_is_shown() {
        let id = SessionId::new(WorkerIndex(2_047), Home::Http, 16_777_215, 1);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1", "+00000000000000a", "00000000000000000", "xyz"] {
            assert_eq!(text.parse::<SessionId>(), Err(NoSessionId), "{text}");
        }
    }
}
