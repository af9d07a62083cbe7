//! The counts: one ledger per worker, written by that worker alone, summed by who asks.
//!
//! A cell has a single writer, so an addition is a plain load and a store; no instruction here
//! locks a cache line that another worker holds. `open` is no cell of its own: a reader takes the
//! ends first and the openings after, so that `opened = open + ended` holds at every scrape.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use std::time::SystemTime;

use tokio::time::Instant;

use super::metrics::Durations;
use super::{Complaints, Direction, Kind, ListenerIndex, Outcome, Record, Records, Refusal};

/// A counter with one writer.
#[derive(Default, Debug)]
struct Cell(AtomicU64);

impl Cell {
    fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Release,
        );
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What one worker counted on one listener; on cache lines of its own.
#[derive(Default, Debug)]
#[repr(align(128))]
struct Cells {
    opened: [Cell; Kind::COUNT],
    ended: [[Cell; Outcome::COUNT]; Kind::COUNT],
    accepted: Cell,
    disconnected: Cell,
    refused: [Cell; Refusal::COUNT],
    bytes: [Cell; Direction::COUNT],
    undelivered: [Cell; Direction::COUNT],
}

/// One worker's counts, per listener.
#[derive(Debug)]
pub struct Ledger {
    cells: Box<[Cells]>,
    durations: Durations,
    /// Connections that were given to this worker and are not gone; written by whoever accepts.
    load: AtomicUsize,
    /// Where refusals are told of, if they are.
    complaints: Option<Arc<Complaints>>,
    /// Where ended sessions are told of, if they are.
    records: Option<Records>,
}

impl Ledger {
    /// An empty ledger for so many listeners.
    pub fn new(listeners: usize, durations: Durations) -> Ledger {
        let cells = (0..listeners).map(|_| Cells::default()).collect();
        Ledger {
            cells,
            durations,
            load: AtomicUsize::new(0),
            complaints: None,
            records: None,
        }
    }

    /// Tells of refusals in the log too.
    #[must_use]
    pub fn with_complaints(mut self, complaints: Arc<Complaints>) -> Ledger {
        self.complaints = Some(complaints);
        self
    }

    /// Tells of each ended session too.
    #[must_use]
    pub fn with_records(mut self, records: Option<Records>) -> Ledger {
        self.records = records;
        self
    }

    /// Whether each ended session is told of.
    pub fn has_records(&self) -> bool {
        self.records.is_some()
    }

    fn at(&self, listener: ListenerIndex) -> &Cells {
        &self.cells[usize::from(listener.0)]
    }

    /// Counts a connection that was accepted; what is returned counts its going.
    pub fn connected(self: &Arc<Self>, listener: ListenerIndex) -> Connected {
        self.at(listener).accepted.add(1);
        Connected {
            ledger: Arc::clone(self),
            listener,
        }
    }

    /// Notes that a connection is on its way to this worker. The end of its [`Connected`] takes
    /// it back. May be called from any thread.
    pub fn assign(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections this worker has or is about to have.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Counts a session that was not taken.
    pub fn refused(&self, listener: ListenerIndex, why: Refusal) {
        self.at(listener).refused[why.index()].add(1);
        if let Some(complaints) = &self.complaints {
            complaints.refused(listener, why);
        }
    }

    /// Counts bytes that were delivered.
    #[inline]
    pub fn bytes(&self, listener: ListenerIndex, direction: Direction, n: u64) {
        self.at(listener).bytes[direction.index()].add(n);
    }

    /// Counts bytes that were taken from one side and could not be delivered to the other.
    pub fn undelivered(&self, listener: ListenerIndex, direction: Direction, n: u64) {
        self.at(listener).undelivered[direction.index()].add(n);
    }

    fn new_record(&self, listener: ListenerIndex, kind: Kind) -> Option<Box<Record>> {
        self.has_records()
            .then(|| Box::new(Record::new(listener, kind)))
    }

    /// Counts a session's opening; what is returned counts its end.
    pub fn open(self: &Arc<Self>, listener: ListenerIndex, kind: Kind) -> Counted {
        self.at(listener).opened[kind.index()].add(1);
        Counted {
            ledger: Arc::clone(self),
            listener,
            kind,
            opened: Instant::now(),
            ended: false,
            record: self.new_record(listener, kind),
        }
    }
}

/// An open connection in the ledger: gone when this is dropped.
#[derive(Debug)]
pub struct Connected {
    ledger: Arc<Ledger>,
    listener: ListenerIndex,
}

impl Connected {
    /// The ledger it stands in.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Where it was accepted.
    pub fn listener(&self) -> ListenerIndex {
        self.listener
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.ledger.at(self.listener).disconnected.add(1);
        self.ledger.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open session in the ledger. Dropped without a word, it counts as `failed`.
#[derive(Debug)]
pub struct Counted {
    ledger: Arc<Ledger>,
    opened: Instant,
    listener: ListenerIndex,
    kind: Kind,
    ended: bool,
    /// There where ended sessions are told of.
    record: Option<Box<Record>>,
}

impl Counted {
    /// What will be told of the session; none if nothing is.
    pub fn record(&mut self) -> Option<&mut Record> {
        self.record.as_deref_mut()
    }

    /// Counts the end.
    pub fn end(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    /// What kind of session was opened.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When it was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    fn settle(&mut self, outcome: Outcome) {
        if !self.ended {
            self.ended = true;
            let cells = self.ledger.at(self.listener);
            cells.ended[self.kind.index()][outcome.index()].add(1);
            self.ledger
                .durations
                .of(self.kind)
                .record(self.opened.elapsed().as_secs_f64());
            if let (Some(mut record), Some(records)) = (self.record.take(), &self.ledger.records) {
                record.ended = SystemTime::now();
                record.outcome = outcome;
                record.duration = self.opened.elapsed();
                records.send(record);
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.settle(Outcome::Failed);
    }
}

/// What all workers counted on one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTotals {
    /// Sessions opened, by kind.
    pub opened: [u64; Kind::COUNT],
    /// Sessions ended, by kind and outcome.
    pub ended: [[u64; Outcome::COUNT]; Kind::COUNT],
    /// Connections accepted.
    pub accepted: u64,
    /// Connections gone.
    pub disconnected: u64,
    /// Sessions not taken, by reason.
    pub refused: [u64; Refusal::COUNT],
    /// Bytes delivered, by direction.
    pub bytes: [u64; Direction::COUNT],
    /// Bytes taken and not delivered, by direction.
    pub undelivered: [u64; Direction::COUNT],
}

impl ListenerTotals {
    /// Sessions of a kind that are open.
    pub fn open(&self, kind: Kind) -> u64 {
        let ended: u64 = self.ended[kind.index()].iter().sum();
        self.opened[kind.index()].wrapping_sub(ended)
    }

    fn subtract(&mut self, other: &ListenerTotals) {
        let take = |now: &mut u64, before: u64| *now = now.wrapping_sub(before);
        for (mine, theirs) in self.ended.iter_mut().zip(&other.ended) {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| take(a, *b));
        }
        let pairs = [
            (&mut self.opened[..], &other.opened[..]),
            (&mut self.refused[..], &other.refused[..]),
            (&mut self.bytes[..], &other.bytes[..]),
            (&mut self.undelivered[..], &other.undelivered[..]),
        ];
        for (mine, theirs) in pairs {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| take(a, *b));
        }
        take(&mut self.accepted, other.accepted);
        take(&mut self.disconnected, other.disconnected);
    }

    fn add(&mut self, cells: &Cells) {
        for kind in 0..Kind::COUNT {
            for outcome in 0..Outcome::COUNT {
                self.ended[kind][outcome] += cells.ended[kind][outcome].get();
            }
            self.opened[kind] += cells.opened[kind].get();
        }
        self.disconnected += cells.disconnected.get();
        self.accepted += cells.accepted.get();
        for why in 0..Refusal::COUNT {
            self.refused[why] += cells.refused[why].get();
        }
        for way in 0..Direction::COUNT {
            self.bytes[way] += cells.bytes[way].get();
            self.undelivered[way] += cells.undelivered[way].get();
        }
    }
}

/// What all workers counted, by listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(pub Vec<ListenerTotals>);

impl Totals {
    /// Leaves nothing but what was counted on this listener.
    pub fn keep(&mut self, listener: ListenerIndex) {
        for (index, totals) in self.0.iter_mut().enumerate() {
            if index != usize::from(listener.0) {
                *totals = ListenerTotals::default();
            }
        }
    }

    /// All open sessions.
    pub fn open(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.open_of(*kind)).sum()
    }

    /// The open sessions of a kind.
    pub fn open_of(&self, kind: Kind) -> u64 {
        self.0.iter().map(|l| l.open(kind)).sum()
    }

    /// All sessions ever opened.
    pub fn opened(&self) -> u64 {
        self.0.iter().flat_map(|l| l.opened).sum()
    }

    /// Sessions of a kind that ended so.
    pub fn ended(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.0
            .iter()
            .map(|l| l.ended[kind.index()][outcome.index()])
            .sum()
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.0
            .iter()
            .map(|l| l.accepted.wrapping_sub(l.disconnected))
            .sum()
    }

    /// Sessions not taken for this reason.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.0.iter().map(|l| l.refused[why.index()]).sum()
    }

    /// Bytes not delivered in this direction.
    pub fn undelivered(&self, direction: Direction) -> u64 {
        self.0
            .iter()
            .map(|l| l.undelivered[direction.index()])
            .sum()
    }
}

/// The ledgers of all workers.
#[derive(Clone, Debug)]
pub struct Ledgers {
    ledgers: Arc<[Arc<Ledger>]>,
    /// What others counted in the same place before, by listener.
    before: Arc<RwLock<BTreeMap<ListenerIndex, ListenerTotals>>>,
}

impl Ledgers {
    /// Puts the workers' ledgers together; all have the same listeners.
    pub fn new(ledgers: Vec<Arc<Ledger>>) -> Ledgers {
        Ledgers {
            ledgers: ledgers.into(),
            before: Arc::default(),
        }
    }

    /// One worker's ledger.
    pub fn of(&self, worker: super::WorkerIndex) -> &Arc<Ledger> {
        &self.ledgers[usize::from(worker.0)]
    }

    /// All of them, by worker.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Ledger>> {
        self.ledgers.iter()
    }

    /// The sum over the workers. Costs the same however many sessions are open.
    pub fn totals(&self) -> Totals {
        let mut totals = self.ever();
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        for (listener, before) in before.iter() {
            totals.0[usize::from(listener.0)].subtract(before);
        }
        totals
    }

    /// Lets a listener's place begin anew; nothing is open there.
    pub fn forget(&self, listener: ListenerIndex) {
        let ever = self.ever();
        let mut before = self.before.write().unwrap_or_else(PoisonError::into_inner);
        before.insert(listener, ever.0[usize::from(listener.0)].clone());
    }

    fn ever(&self) -> Totals {
        let listeners = self.ledgers.first().map_or(0, |l| l.cells.len());
        let mut totals = Totals(vec![ListenerTotals::default(); listeners]);
        for ledger in self.ledgers.iter() {
            for (total, cells) in totals.0.iter_mut().zip(&ledger.cells) {
                total.add(cells);
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Arc<Ledger> {
        Arc::new(Ledger::new(1, Durations::discarded()))
    }

    #[test]
    fn a_session_dropped_without_a_word_has_failed() {
        let ledger = ledger();
        let ledgers = Ledgers::new(vec![Arc::clone(&ledger)]);
        drop(ledger.open(ListenerIndex(0), Kind::Websocket));
        let totals = ledgers.totals();
        assert_eq!(totals.ended(Kind::Websocket, Outcome::Failed), 1);
        assert_eq!(totals.open(), 0);
    }

    #[test]
    fn an_end_is_counted_once() {
        let ledger = ledger();
        let ledgers = Ledgers::new(vec![Arc::clone(&ledger)]);
        ledger
            .open(ListenerIndex(0), Kind::Http)
            .end(Outcome::Closed);
        let totals = ledgers.totals();
        assert_eq!(totals.ended(Kind::Http, Outcome::Closed), 1);
        assert_eq!(totals.ended(Kind::Http, Outcome::Failed), 0);
    }

    #[test]
    fn a_place_begins_anew_when_it_is_forgotten() {
        let ledger = ledger();
        let ledgers = Ledgers::new(vec![Arc::clone(&ledger)]);
        let here = ListenerIndex(0);
        drop(ledger.open(here, Kind::Tcp));
        drop(ledger.connected(here));
        ledger.refused(here, Refusal::Overload);
        ledger.bytes(here, Direction::ToClient, 7);
        ledger.undelivered(here, Direction::ToUpstream, 7);
        ledgers.forget(here);
        assert_eq!(ledgers.totals().0[0], ListenerTotals::default());
        let session = ledger.open(here, Kind::Tcp);
        assert_eq!((ledgers.totals().open(), ledgers.totals().opened()), (1, 1));
        session.end(Outcome::Closed);
    }

    #[test]
    fn the_sum_holds_while_a_worker_writes() {
        let ledger = ledger();
        let ledgers = Ledgers::new(vec![Arc::clone(&ledger)]);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for _ in 0..200_000 {
                    ledger
                        .open(ListenerIndex(0), Kind::Tcp)
                        .end(Outcome::Finished);
                }
            });
            let mut scrapes = 0;
            while !writer.is_finished() || scrapes == 0 {
                let open = ledgers.totals().open();
                assert!(open <= 200_000, "more ends than openings were seen: {open}");
                scrapes += 1;
            }
        });
        assert_eq!(ledgers.totals().open(), 0);
    }
}
