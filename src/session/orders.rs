//! The orders that a worker takes, and the way they reach it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{EndpointId, Facts, ListenerIndex, SessionId};

/// An order to a worker. It is carried out between two turns of the worker, on its own thread.
#[derive(Debug)]
pub enum Order {
    /// Tell the facts of what you hold, from a place on, so many at most.
    List {
        /// Where the last page ended; zero to begin with.
        from: usize,
        /// The longest page.
        limit: usize,
        /// Where the page goes.
        reply: oneshot::Sender<Page>,
    },
    /// Ask these to go, each at a boundary of its own protocol.
    Leave {
        /// Who; those that have gone by themselves are passed over.
        ids: Vec<SessionId>,
        /// In what time.
        terms: Terms,
    },
    /// End these at once; the deadline has come.
    Cut {
        /// Who.
        whom: Whom,
        /// Where the list of those that were cut goes.
        reply: oneshot::Sender<Gone>,
    },
}

/// The time that a session has which is asked to go.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// By when it has to be gone: after that it is cut alone.
    pub until: Instant,
    /// How much of that is kept for the close handshake: a good moment is waited for no longer.
    pub reserve: Duration,
    /// The longest that its close handshake may take once it has begun.
    pub close_timeout: Duration,
}

/// Whom an order is for.
#[derive(Clone, Debug)]
pub enum Whom {
    /// Everything that is held, connections without a session included.
    All,
    /// What a listener accepted.
    Listener(ListenerIndex),
    /// What is on an endpoint.
    Endpoint(EndpointId),
    /// These.
    These(Arc<HashSet<SessionId>>),
}

impl Whom {
    /// Whether a session is meant.
    pub fn means(
        &self,
        listener: ListenerIndex,
        endpoint: Option<EndpointId>,
        id: SessionId,
    ) -> bool {
        match self {
            Whom::All => true,
            Whom::Listener(only) => *only == listener,
            Whom::Endpoint(only) => endpoint == Some(*only),
            Whom::These(ids) => ids.contains(&id),
        }
    }
}

/// A slice of a worker's sessions.
#[derive(Debug, Default)]
pub struct Page {
    /// The facts.
    pub facts: Vec<Facts>,
    /// Where the next page begins; none after the last.
    pub next: Option<usize>,
}

impl Page {
    /// At most `limit` of what a slab holds of which there are facts, from a slot on. It begins at that slot: a list is read page
    /// by page, and a walk to where each begins would take the square of what is held.
    pub fn of<T>(
        held: &Slab<T>,
        from: usize,
        limit: usize,
        facts: impl Fn(usize, &T) -> Option<Facts>,
    ) -> Page {
        let mut page = Page {
            facts: Vec::with_capacity(limit.min(held.len())),
            next: None,
        };
        for slot in from..held.capacity() {
            let Some(facts) = held.get(slot).and_then(|one| facts(slot, one)) else {
                continue;
            };
            if page.facts.len() == limit {
                page.next = Some(slot);
                break;
            }
            page.facts.push(facts);
        }
        page
    }
}

/// A session that was cut at the deadline, and why it was still there.
#[derive(Clone, Debug)]
pub struct CutSession {
    /// What was known of it.
    pub facts: Facts,
    /// What it had not done, in words.
    pub why: &'static str,
}

/// What a worker tells of those that have gone since it was asked last.
#[derive(Debug, Default)]
pub struct Gone {
    /// Sessions that were cut, at the deadline or alone before it; the first hundred.
    pub cut: Vec<CutSession>,
    /// How long those that were asked to go took to be gone.
    pub took: Vec<Duration>,
}

impl Gone {
    /// Adds what another worker, or another home of sessions, tells.
    pub fn extend(&mut self, other: Gone) {
        self.cut.extend(other.cut);
        self.took.extend(other.took);
    }
}

/// The way to all workers.
#[derive(Clone, Debug)]
pub struct Workers(Arc<[mpsc::UnboundedSender<Order>]>);

/// How many sessions a worker tells of in one go: about 50 µs of its time.
const PAGE: usize = 500;

impl Workers {
    /// Puts the workers' inboxes together, by worker.
    pub fn new(inboxes: Vec<mpsc::UnboundedSender<Order>>) -> Workers {
        Workers(inboxes.into())
    }

    /// The facts of everything that is held.
    pub async fn facts(&self) -> Vec<Facts> {
        let mut all = Vec::new();
        self.each(|facts| all.push(facts)).await;
        all
    }

    /// Looks at the facts of everything that is held, in slices that do not stop traffic and of
    /// which none is kept. A worker that has gone holds nothing.
    pub async fn each(&self, look: impl FnMut(Facts)) {
        let mut look = look;
        for inbox in self.0.iter() {
            let mut from = Some(0);
            while let Some(start) = from {
                let (reply, page) = oneshot::channel();
                if inbox
                    .send(Order::List {
                        from: start,
                        limit: PAGE,
                        reply,
                    })
                    .is_err()
                {
                    break;
                }
                let Ok(page) = page.await else { break };
                page.facts.into_iter().for_each(&mut look);
                from = page.next;
            }
        }
    }

    /// Waits until every worker has come round to its orders; false if one has gone.
    pub async fn all_come_round(&self) -> bool {
        let mut replies = Vec::new();
        for inbox in self.0.iter() {
            let (reply, page) = oneshot::channel();
            // A page without room for anything: who reads the order has nothing to do for it.
            let (from, limit) = (0, 0);
            if inbox.send(Order::List { from, limit, reply }).is_err() {
                return false;
            }
            replies.push(page);
        }
        for reply in replies {
            if reply.await.is_err() {
                return false;
            }
        }
        true
    }

    /// Asks these to go.
    pub fn leave(&self, ids: &[SessionId], terms: Terms) {
        for (worker, inbox) in self.0.iter().enumerate() {
            let ids: Vec<_> = ids
                .iter()
                .copied()
                .filter(|id| usize::from(id.worker().0) == worker)
                .collect();
            if !ids.is_empty() {
                // A worker that has gone holds none of them.
                let _ = inbox.send(Order::Leave { ids, terms });
            }
        }
    }

    /// Ends these, and says what was cut.
    pub async fn cut(&self, whom: &Whom) -> Gone {
        let mut all = Gone::default();
        for inbox in self.0.iter() {
            let (reply, cut) = oneshot::channel();
            let whom = whom.clone();
            if inbox.send(Order::Cut { whom, reply }).is_ok() {
                all.extend(cut.await.unwrap_or_default());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::session::{Holding, Home, WorkerIndex};

    #[test]
    fn pages_have_everybody_once_however_full_of_holes_the_slab_is() {
        let mut held: Slab<()> = (0..9).map(|slot| (slot, ())).collect();
        for gone in [0, 3, 4, 8] {
            held.remove(gone);
        }
        let facts = |slot: usize, (): &()| {
            // Of one there is nothing to tell.
            (slot != 6).then_some(Facts {
                id: SessionId::new(WorkerIndex(0), Home::Pump, slot, 0),
                listener: ListenerIndex(0),
                endpoint: None,
                holding: Holding::Nothing,
                client: ([127, 0, 0, 1], 1).into(),
                key: None,
                age: Duration::ZERO,
                idle: [Duration::ZERO; 2],
                bytes: [0; 2],
                messages: [0; 2],
                asked: false,
            })
        };
        let (mut from, mut pages) = (Some(0), Vec::new());
        while let Some(start) = from {
            let page = Page::of(&held, start, 2, facts);
            let slots = page.facts.iter().map(|facts| facts.id.slot());
            pages.push(slots.collect::<Vec<_>>());
            assert!(pages.len() <= held.len(), "no end: {pages:?}");
            from = page.next;
        }
        assert_eq!(pages, [vec![1, 2], vec![5, 7]]);
    }

    #[tokio::test]
    async fn workers_have_come_round_when_the_last_has() {
        let (inboxes, mut orders): (Vec<_>, Vec<_>) =
            (0..2).map(|_| mpsc::unbounded_channel()).unzip();
        let workers = Workers::new(inboxes);
        let mut come = pin!(workers.all_come_round());
        let mut context = Context::from_waker(Waker::noop());
        assert!(come.as_mut().poll(&mut context).is_pending());
        let answer = |orders: &mut mpsc::UnboundedReceiver<Order>| match orders.try_recv() {
            Ok(Order::List { reply, .. }) => reply.send(Page::default()).unwrap(),
            other => panic!("{other:?}"),
        };
        answer(&mut orders[0]);
        assert!(come.as_mut().poll(&mut context).is_pending(), "one hangs");
        answer(&mut orders[1]);
        assert!(come.await);
        drop(orders.pop());
        assert!(!workers.all_come_round().await, "one has gone");
    }
}
