//! What the access log tells of a session that has ended, and the way there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use super::{Direction, Facts, Kind, ListenerIndex, Outcome, SessionId};

/// Records that may wait to be written: enough for a pause of the disk at a busy hour.
const WAITING: usize = 16 * 1024;

/// One ended session.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it ended.
    pub ended: SystemTime,
    /// Its id; none if it never came so far.
    pub id: Option<SessionId>,
    /// Where it was accepted.
    pub listener: ListenerIndex,
    /// What it was.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// What names the client behind that address.
    pub key: Option<Arc<str>>,
    /// The agent's endpoint.
    pub upstream: Option<Arc<str>>,
    /// How long it was open.
    pub duration: Duration,
    /// Bytes, by direction.
    pub bytes: [u64; Direction::COUNT],
    /// Whole messages, by direction.
    pub messages: [u64; Direction::COUNT],
    /// Whether it was asked to go.
    pub asked: bool,
    /// The code of the Close that ended it.
    pub close_code: Option<u16>,
    /// The request that it is, or that it began with.
    pub request: Option<Request>,
}

/// A request as the access log tells of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Arc<str>,
    /// Its path, without the query.
    pub path: Arc<str>,
    /// The status of the response; none before there is one.
    pub status: Option<u16>,
}

impl Record {
    pub(super) fn new(listener: ListenerIndex, kind: Kind) -> Record {
        Record {
            ended: SystemTime::UNIX_EPOCH,
            id: None,
            listener,
            kind,
            outcome: Outcome::Failed,
            client: None,
            key: None,
            upstream: None,
            duration: Duration::ZERO,
            bytes: [0; Direction::COUNT],
            messages: [0; Direction::COUNT],
            asked: false,
            close_code: None,
            request: None,
        }
    }

    /// Notes what can be told of a session at its end.
    pub fn note(&mut self, facts: Facts) {
        self.id = Some(facts.id);
        self.client = Some(facts.client);
        self.key = facts.key;
        self.bytes = facts.bytes;
        self.messages = facts.messages;
        self.asked = facts.asked;
    }
}

/// The way of the records of ended sessions. It never waits: what finds no room is counted.
#[derive(Clone, Debug)]
pub struct Records {
    to: SyncSender<Box<Record>>,
    dropped: Arc<AtomicU64>,
}

impl Records {
    /// A way, and its end.
    pub fn new() -> (Records, Receiver<Box<Record>>) {
        Records::with_room_for(WAITING)
    }

    fn with_room_for(waiting: usize) -> (Records, Receiver<Box<Record>>) {
        let (to, records) = sync_channel(waiting);
        let dropped = Arc::default();
        (Records { to, dropped }, records)
    }

    /// How many were dropped, shared.
    pub fn dropped(&self) -> &Arc<AtomicU64> {
        &self.dropped
    }

    pub(super) fn send(&self, record: Box<Record>) {
        match self.to.try_send(record) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let (records, end) = Records::with_room_for(2);
        for _ in 0..5 {
            records.send(Box::new(Record::new(ListenerIndex(0), Kind::Tcp)));
        }
        assert_eq!(records.dropped().load(Ordering::Relaxed), 3);
        assert_eq!(end.try_iter().count(), 2);
        drop(end);
        records.send(Box::new(Record::new(ListenerIndex(0), Kind::Tcp)));
        assert_eq!(records.dropped().load(Ordering::Relaxed), 4);
    }
}
