//! Distance between clients and the proxy: a relay that passes everything on unchanged, but later.
//!
//! On loopback nothing ever crosses on the wire. What each socket's kernel measures is the way to
//! this relay, not to the other end of it, as before a balancer that ends TCP connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::wire::End;

/// How many bytes may be on their way in one direction of a connection: more than a peer sends in
/// any delay of ours, and yet somebody who does not read is felt at the other end.
const ON_THE_WAY: usize = 4 << 20;
/// The most that is read at once.
const CHUNK: usize = 64 << 10;

/// A delaying relay; it ends when dropped, and so do its connections.
pub struct Delay {
    /// Where it listens.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

/// What travels in one direction, with the moment of its arrival.
enum Parcel {
    Bytes(Instant, Vec<u8>),
    End(Instant, End),
}

impl Delay {
    /// A relay to `target` that holds back everything by `one_way`, in each direction.
    pub async fn before(target: SocketAddr, one_way: Duration) -> Delay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => {
                        connections.spawn(carry(client, target, one_way));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Delay { addr, task }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until both directions have ended or one of its ends was reset.
async fn carry(mut near: TcpStream, target: SocketAddr, one_way: Duration) {
    let Ok(mut far) = TcpStream::connect(target).await else {
        let _ = near.set_zero_linger();
        return;
    };
    let (dead_near, dead_far) = (AtomicBool::new(false), AtomicBool::new(false));
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let reset = {
        let (from_near, to_near) = near.split();
        let (from_far, to_far) = far.split();
        let there = Way {
            one_way,
            dead_source: &dead_near,
            dead_destination: &dead_far,
        };
        let back = Way {
            one_way,
            dead_source: &dead_far,
            dead_destination: &dead_near,
        };
        let both = async {
            tokio::try_join!(there.pass(from_near, to_far), back.pass(from_far, to_near)).map(drop)
        };
        both.await.is_err()
    };
    if reset {
        // Who was reset itself does not mind.
        let _ = near.set_zero_linger();
        let _ = far.set_zero_linger();
    }
}

/// The source of a direction was reset, and the time has come for the destination to know.
struct Reset;

#[derive(Clone, Copy)]
struct Way<'a> {
    one_way: Duration,
    dead_source: &'a AtomicBool,
    dead_destination: &'a AtomicBool,
}

impl Way<'_> {
    async fn pass(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), Reset> {
        let (send, parcels) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(ON_THE_WAY));
        let (_, delivered) = tokio::join!(
            self.collect(from, &send, &room),
            self.deliver(to, parcels, &room)
        );
        delivered
    }

    /// Reads as fast as the source sends, up to what may be on the way.
    async fn collect(
        self,
        mut from: ReadHalf<'_>,
        send: &mpsc::UnboundedSender<Parcel>,
        room: &Semaphore,
    ) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await;
            let due = Instant::now() + self.one_way;
            let parcel = match read {
                Ok(0) if !self.dead_source.load(Ordering::SeqCst) => Parcel::End(due, End::Fin),
                Ok(0) | Err(_) => Parcel::End(due, End::Reset),
                Ok(n) => {
                    let taken = room.acquire_many(n as u32).await;
                    taken.expect("never closed").forget();
                    Parcel::Bytes(due, chunk[..n].to_vec())
                }
            };
            let last = matches!(parcel, Parcel::End(..));
            if send.send(parcel).is_err() || last {
                return;
            }
        }
    }

    /// Writes each parcel when it is due. What a destination does not take any more is dropped; its
    /// reset travels the other way.
    async fn deliver(
        self,
        mut to: WriteHalf<'_>,
        mut parcels: mpsc::UnboundedReceiver<Parcel>,
        room: &Semaphore,
    ) -> Result<(), Reset> {
        while let Some(parcel) = parcels.recv().await {
            match parcel {
                Parcel::Bytes(due, bytes) => {
                    sleep_until(due).await;
                    let written: io::Result<()> = to.write_all(&bytes).await;
                    if written.is_err() {
                        self.dead_destination.store(true, Ordering::SeqCst);
                    }
                    room.add_permits(bytes.len());
                }
                Parcel::End(due, end) => {
                    sleep_until(due).await;
                    if end == End::Reset {
                        return Err(Reset);
                    }
                    let _ = to.shutdown().await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::agent::Agent;
    use super::super::wire::Wire;
    use super::super::within;
    use super::*;

    const ONE_WAY: Duration = Duration::from_millis(30);

    /// An agent that answers each line with the same.
    fn echo() -> Agent {
        Agent::scripted(|_, mut wire| async move {
            while let Some(line) = wire.until(b"\n").await {
                if wire.send(line).await.is_err() {
                    break;
                }
            }
            wire.finish().await;
        })
    }

    async fn round(wire: &mut Wire, number: usize) -> Duration {
        let (asked, line) = (Instant::now(), format!("{number}\n"));
        wire.send(&line).await.unwrap();
        let answer = within(10, "the answer", wire.until(b"\n")).await;
        assert_eq!(answer.as_deref(), Some(line.as_bytes()));
        asked.elapsed()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_comes_in_order_and_a_round_trip_later() {
        let agent = echo();
        let relay = Delay::before(agent.addr, ONE_WAY).await;
        let mut clients = JoinSet::new();
        for _ in 0..100 {
            let mut wire = Wire::connect(relay.addr).await.unwrap();
            clients.spawn(async move {
                let mut shortest = Duration::MAX;
                for number in 0..5 {
                    shortest = shortest.min(round(&mut wire, number).await);
                }
                // Many at once take no longer than one.
                let asked = Instant::now();
                let lines: String = (0..200).map(|n| format!("{n}\n")).collect();
                for line in lines.split_inclusive('\n') {
                    wire.send(line).await.unwrap();
                }
                let asked = asked.elapsed() + 2 * ONE_WAY;
                let answers = within(10, "the answers", wire.exactly(lines.len())).await;
                assert_eq!(answers.as_deref(), Some(lines.as_bytes()));
                assert!(asked < 20 * ONE_WAY, "sending was held up: {asked:?}");
                let finished = Instant::now();
                wire.finish().await;
                let end = within(10, "the end", wire.rest()).await;
                assert_eq!(end, (vec![], End::Fin));
                assert!(finished.elapsed() >= 2 * ONE_WAY, "the FIN is later too");
                shortest
            });
        }
        for shortest in clients.join_all().await {
            assert!(shortest >= 2 * ONE_WAY, "{shortest:?} is too short");
            assert!(shortest < 4 * ONE_WAY, "{shortest:?} is too long");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reset_stays_a_reset_and_comes_later() {
        let agent = Agent::scripted(|_, mut wire| async move {
            wire.until(b"\n").await;
            wire.reset();
        });
        let relay = Delay::before(agent.addr, ONE_WAY).await;
        let mut wire = Wire::connect(relay.addr).await.unwrap();
        let asked = Instant::now();
        wire.send("go\n").await.unwrap();
        let end = within(10, "the reset", wire.rest()).await;
        assert_eq!(end, (vec![], End::Reset));
        assert!(asked.elapsed() >= 2 * ONE_WAY);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn throughput_is_not_limited_by_the_delay() {
        const AMOUNT: usize = 32 << 20;
        let agent = Agent::scripted(|_, mut wire| async move {
            wire.until(b"\n").await;
            let _ = wire.send(vec![7; AMOUNT]).await;
            wire.finish().await;
        });
        let relay = Delay::before(agent.addr, ONE_WAY).await;
        let mut wire = Wire::connect(relay.addr).await.unwrap();
        let asked = Instant::now();
        wire.send("go\n").await.unwrap();
        let (bytes, end) = within(20, "all of it", wire.rest()).await;
        assert_eq!((bytes.len(), end), (AMOUNT, End::Fin));
        // A chunk per round trip would take half a minute.
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
}
