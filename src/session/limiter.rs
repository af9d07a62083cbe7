//! How much each client may take: sessions at once, connections and requests in a second.
//!
//! One table for all workers, sharded by client, since a client's connections are everywhere. It
//! is bounded: who cannot be entered is not held to these limits, for a table that was filled on
//! purpose must not keep everybody else out. An IPv6 client is its /64: it has all of that.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::config::{Config, ListenerLimits};

use super::{ListenerIndex, Refusal, Roster};

const SECOND: u64 = 1_000_000;

/// The limits that are counted, and the counts. What follows one after a reload has its counts.
#[derive(Debug)]
pub struct Limiter {
    gates: Box<[Gate]>,
    clients: Arc<Clients>,
}

/// What clients have taken.
#[derive(Debug)]
struct Clients {
    table: DashMap<Key, Client>,
    /// How many there are; the map itself would have to lock every shard to tell.
    tracked: AtomicUsize,
    /// How many there may be: a listener that a reload leaves as it was goes by the new number too.
    most: AtomicUsize,
    /// When the table was last looked through, in microseconds.
    swept: AtomicU64,
    begun: Instant,
}

impl Clients {
    fn new(most: usize) -> Arc<Clients> {
        Arc::new(Clients {
            table: DashMap::new(),
            tracked: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            swept: AtomicU64::new(0),
            begun: Instant::now(),
        })
    }
}

/// A listener's limits, and its sessions.
#[derive(Debug)]
struct Gate {
    max_sessions: usize,
    max_per_client: usize,
    connections: Option<Rate>,
    requests: Option<Rate>,
    sessions: Arc<AtomicUsize>,
}

impl Gate {
    fn new(limits: &ListenerLimits, sessions: Arc<AtomicUsize>) -> Gate {
        let rate = |rate: Option<NonZeroU32>| rate.map(|rate| Rate::new(rate, limits.burst));
        Gate {
            max_sessions: limits.max_sessions.map_or(usize::MAX, usize::from),
            max_per_client: limits
                .max_sessions_per_client
                .map_or(usize::MAX, usize::from),
            connections: rate(limits.connections_per_second),
            requests: rate(limits.requests_per_second),
            sessions,
        }
    }

    fn counts_sessions(&self) -> bool {
        self.max_sessions < usize::MAX || self.counts_per_client()
    }

    fn counts_per_client(&self) -> bool {
        self.max_per_client < usize::MAX
    }

    fn limits_anything(&self) -> bool {
        self.counts_sessions() || self.connections.is_some() || self.requests.is_some()
    }
}

/// A client at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    listener: ListenerIndex,
    network: Network,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    /// The first 64 bits.
    V6(u64),
}

impl Network {
    fn of(client: IpAddr) -> Network {
        match client.to_canonical() {
            IpAddr::V4(v4) => Network::V4(v4.to_bits()),
            IpAddr::V6(v6) => Network::V6(u64::try_from(v6.to_bits() >> 64).unwrap_or(0)),
        }
    }
}

#[derive(Debug, Default)]
struct Client {
    sessions: usize,
    connections: Bucket,
    requests: Bucket,
}

impl Client {
    /// Whether nothing is known of it that a new entry would not say.
    fn is_blank(&self, now: u64) -> bool {
        self.sessions == 0 && self.connections.is_full(now) && self.requests.is_full(now)
    }
}

/// So many in a second, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// The time that one takes.
    each: u64,
    /// So far ahead of its time one may be.
    ahead: u64,
}

impl Rate {
    fn new(rate: NonZeroU32, burst: Option<NonZeroU32>) -> Rate {
        let each = SECOND / u64::from(rate.get());
        let burst = u64::from(burst.unwrap_or(rate).get());
        Rate {
            each,
            ahead: each * (burst - 1),
        }
    }
}

/// A token bucket, kept as the moment at which it is full again, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(u64);

impl Bucket {
    fn is_full(self, now: u64) -> bool {
        self.0 <= now
    }

    /// Takes a token, or says how long it is until there is one.
    fn take(&mut self, rate: Rate, now: u64) -> Result<(), Duration> {
        let full = self.0.max(now);
        match (full - now).checked_sub(rate.ahead) {
            None | Some(0) => {
                self.0 = full + rate.each;
                Ok(())
            }
            Some(wait) => Err(Duration::from_micros(wait)),
        }
    }
}

/// A client was told no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// When it may try again, in seconds; at least one.
    pub retry_after: u32,
}

/// A session that counts: given back when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    limiter: Arc<Limiter>,
    listener: ListenerIndex,
    /// Set where it counts as its client's too.
    client: Option<Network>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let gate = &self.limiter.gates[usize::from(self.listener.0)];
        gate.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Some(network) = self.client {
            let listener = self.listener;
            let key = Key { listener, network };
            if let Some(mut client) = self.limiter.clients.table.get_mut(&key) {
                client.sessions = client.sessions.saturating_sub(1);
            }
        }
    }
}

impl Limiter {
    /// The limits of all listeners, counted on from those of `before`; none if nothing has to be
    /// counted.
    pub fn new(config: &Config, roster: &Roster, before: Option<&Limiter>) -> Option<Arc<Limiter>> {
        let sessions = |place: usize| {
            let gate = before.and_then(|before| before.gates.get(place));
            gate.map_or_else(Arc::default, |gate| Arc::clone(&gate.sessions))
        };
        let mut gates = Vec::new();
        for listener in &config.listeners {
            let Some(place) = roster.find(&listener.name.0) else {
                continue;
            };
            let at = usize::from(place.0);
            while gates.len() <= at {
                let nothing = ListenerLimits::default();
                gates.push(Gate::new(&nothing, sessions(gates.len())));
            }
            gates[at] = Gate::new(&listener.edge.limits, sessions(at));
        }
        let most = config.limits.max_clients_tracked;
        let clients =
            before.map_or_else(|| Clients::new(most), |before| Arc::clone(&before.clients));
        clients.most.store(most, Ordering::Relaxed);
        gates.iter().any(Gate::limits_anything).then(|| {
            Arc::new(Limiter {
                gates: gates.into(),
                clients,
            })
        })
    }

    fn gate(&self, listener: ListenerIndex) -> &Gate {
        &self.gates[usize::from(listener.0)]
    }

    fn now(&self) -> u64 {
        // A bucket begins full at zero.
        u64::try_from(self.clients.begun.elapsed().as_micros()).unwrap_or(u64::MAX >> 1)
    }

    /// Counts a new connection.
    ///
    /// # Errors
    /// When its client has made too many of late.
    pub fn connection(&self, listener: ListenerIndex, client: IpAddr) -> Result<(), Refused> {
        let Some(rate) = self.gate(listener).connections else {
            return Ok(());
        };
        let take = |client: &mut Client, now| client.connections.take(rate, now);
        self.rated(listener, client, Refusal::ConnectionRate, take)
    }

    /// Counts a request.
    ///
    /// # Errors
    /// When its client has made too many of late.
    pub fn request(&self, listener: ListenerIndex, client: IpAddr) -> Result<(), Refused> {
        let Some(rate) = self.gate(listener).requests else {
            return Ok(());
        };
        let take = |client: &mut Client, now| client.requests.take(rate, now);
        self.rated(listener, client, Refusal::RequestRate, take)
    }

    fn rated(
        &self,
        listener: ListenerIndex,
        client: IpAddr,
        why: Refusal,
        take: impl FnOnce(&mut Client, u64) -> Result<(), Duration>,
    ) -> Result<(), Refused> {
        let network = Network::of(client);
        let now = self.now();
        let taken = self.of(Key { listener, network }, now, |client| take(client, now));
        taken.unwrap_or(Ok(())).map_err(|wait| Refused {
            why,
            retry_after: u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX),
        })
    }

    /// Counts a session for as long as the ticket lives; none if nothing counts them.
    ///
    /// # Errors
    /// When the listener or the client has as many as it may.
    pub fn session(
        self: &Arc<Self>,
        listener: ListenerIndex,
        client: IpAddr,
    ) -> Result<Option<Box<Ticket>>, Refused> {
        let gate = self.gate(listener);
        if !gate.counts_sessions() {
            return Ok(None);
        }
        let refused = |why| {
            let retry_after = 1;
            Refused { why, retry_after }
        };
        if gate.sessions.fetch_add(1, Ordering::Relaxed) >= gate.max_sessions {
            gate.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(refused(Refusal::Sessions));
        }
        // From here on the count is the ticket's.
        let mut ticket = Box::new(Ticket {
            limiter: Arc::clone(self),
            listener,
            client: None,
        });
        if gate.counts_per_client() {
            let network = Network::of(client);
            let key = Key { listener, network };
            let counted = self.of(key, self.now(), |client| {
                let fits = client.sessions < gate.max_per_client;
                client.sessions += usize::from(fits);
                fits
            });
            match counted {
                Some(true) => ticket.client = Some(network),
                Some(false) => return Err(refused(Refusal::ClientSessions)),
                None => {}
            }
        }
        Ok(Some(ticket))
    }

    /// Lets `f` look at a client; none if there is no room for it.
    fn of<T>(&self, key: Key, now: u64, f: impl FnOnce(&mut Client) -> T) -> Option<T> {
        if let Some(mut client) = self.clients.table.get_mut(&key) {
            return Some(f(&mut client));
        }
        let most = self.clients.most.load(Ordering::Relaxed);
        if self.clients.tracked.load(Ordering::Relaxed) >= most {
            self.sweep(now);
        }
        if self.clients.tracked.fetch_add(1, Ordering::Relaxed) >= most {
            self.clients.tracked.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut is_new = false;
        let mut client = self.clients.table.entry(key).or_insert_with(|| {
            is_new = true;
            Client::default()
        });
        if !is_new {
            self.clients.tracked.fetch_sub(1, Ordering::Relaxed);
        }
        Some(f(&mut client))
    }

    /// Takes out those of whom nothing is known; at most once a second, since it looks at all.
    fn sweep(&self, now: u64) {
        let last = self.clients.swept.load(Ordering::Relaxed);
        if last != 0 && now.saturating_sub(last) < SECOND {
            return;
        }
        let (order, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let mine = self
            .clients
            .swept
            .compare_exchange(last, now.max(1), order, failed);
        if mine.is_err() {
            return;
        }
        let mut gone = 0;
        self.clients.table.retain(|_, client| {
            let is_blank = client.is_blank(now);
            gone += usize::from(is_blank);
            !is_blank
        });
        self.clients.tracked.fetch_sub(gone, Ordering::Relaxed);
        if gone == 0 {
            tracing::warn!(
                most = self.clients.most.load(Ordering::Relaxed),
                "limits.max_clients_tracked is reached; new clients are not limited"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ListenerIndex = ListenerIndex(0);

    fn limiter(limits: &ListenerLimits, most: usize) -> Arc<Limiter> {
        Arc::new(Limiter {
            gates: [limits; 2]
                .map(|limits| Gate::new(limits, Arc::default()))
                .into(),
            clients: Clients::new(most),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap(), NonZeroU32::new(3));
        let (mut bucket, now) = (Bucket::default(), 5 * SECOND);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, now), Ok(()));
        }
        assert_eq!(bucket.take(rate, now), Err(Duration::from_millis(100)));
        assert!(bucket.take(rate, now + 99_999).is_err());
        assert_eq!(bucket.take(rate, now + 100_000), Ok(()));
        assert!(bucket.take(rate, now + 100_000).is_err());
        assert!(!bucket.is_full(now + 300_000) && bucket.is_full(now + 400_000));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_apart_and_a_64_is_one() {
        let limits = ListenerLimits {
            requests_per_second: NonZeroU32::new(1),
            ..ListenerLimits::default()
        };
        let limiter = limiter(&limits, 10);
        for (client, ok) in [
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
        ] {
            assert_eq!(limiter.request(HERE, ip(client)).is_ok(), ok, "{client}");
        }
        assert!(limiter.request(ListenerIndex(1), ip("192.0.2.1")).is_ok());
        assert!(limiter.connection(HERE, ip("192.0.2.1")).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.request(HERE, ip("192.0.2.1")).is_ok());
        let refused = limiter.request(HERE, ip("192.0.2.1")).unwrap_err();
        assert_eq!(
            (refused.why, refused.retry_after),
            (Refusal::RequestRate, 2)
        );
    }

    #[test]
    fn sessions_count_as_long_as_their_tickets_live() {
        let limits = ListenerLimits {
            max_sessions: std::num::NonZeroUsize::new(3),
            max_sessions_per_client: std::num::NonZeroUsize::new(2),
            ..ListenerLimits::default()
        };
        let limiter = limiter(&limits, 10);
        let session = |client| limiter.session(HERE, ip(client));
        let why = |client| session(client).map_err(|refused| refused.why).err();
        let first = [session("192.0.2.1").unwrap(), session("192.0.2.1").unwrap()];
        assert_eq!(why("192.0.2.1"), Some(Refusal::ClientSessions));
        let other = session("192.0.2.2").unwrap();
        assert_eq!(why("192.0.2.3"), Some(Refusal::Sessions));
        drop(first);
        drop(other);
        let again: Vec<_> = (0..2).map(|_| session("192.0.2.1").unwrap()).collect();
        assert_eq!(again.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_the_idle_make_room() {
        let limits = ListenerLimits {
            connections_per_second: NonZeroU32::new(1),
            max_sessions_per_client: std::num::NonZeroUsize::new(1),
            ..ListenerLimits::default()
        };
        let limiter = limiter(&limits, 100);
        let _busy = limiter.session(HERE, ip("203.0.113.1")).unwrap();
        for n in 0..10_000u32 {
            let client = IpAddr::from(n.to_be_bytes());
            assert!(limiter.connection(HERE, client).is_ok());
        }
        assert_eq!(limiter.clients.table.len(), 100);
        // In a second they are forgotten, but for who has a session.
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(limiter.connection(HERE, ip("192.0.2.9")).is_ok());
        assert_eq!(limiter.clients.table.len(), 2);
        assert!(limiter.session(HERE, ip("203.0.113.1")).is_err());
    }

    #[test]
    fn a_listener_that_stays_as_it_was_goes_by_the_new_size_of_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lameduck.toml");
        let configured = |most: usize| {
            let text = format!(
                "[[listener]]\nname = \"raw\"\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
                 upstream = \"agent\"\n[upstream.agent]\nendpoints = [\"127.0.0.1:9\"]\n\
                 [limits]\nconnections_per_second = 1\nmax_clients_tracked = {most}\n"
            );
            std::fs::write(&path, text).unwrap();
            let loaded = crate::config::load(Some(&path), &crate::config::Overrides::default());
            loaded.unwrap().config
        };
        let (few, many) = (configured(10), configured(100));
        let roster = Roster::new([few.listeners[0].name.clone()]);
        let before = Limiter::new(&few, &roster, None).unwrap();
        let _after = Limiter::new(&many, &roster, Some(&before)).unwrap();
        for n in 0..50u32 {
            assert!(
                before
                    .connection(HERE, IpAddr::from(n.to_be_bytes()))
                    .is_ok()
            );
        }
        assert_eq!(before.clients.table.len(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_while_new_clients_never_pause() {
        let limits = ListenerLimits {
            connections_per_second: NonZeroU32::new(1),
            ..ListenerLimits::default()
        };
        let limiter = limiter(&limits, 10);
        let mut held_to_it = 0;
        for n in 0..100u32 {
            let client = IpAddr::from(n.to_be_bytes());
            assert!(limiter.connection(HERE, client).is_ok());
            held_to_it += u32::from(limiter.connection(HERE, client).is_err());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(held_to_it >= 50, "{held_to_it} of 100");
    }
}
