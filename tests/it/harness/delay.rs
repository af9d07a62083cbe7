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
