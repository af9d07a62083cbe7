//! Clients that read more slowly than the agent speaks, on a thread of their own.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::load::upgrade;
use crate::task::pause;

/// What the agent has to say to each.
const SPEECH: usize = 1 << 20;
/// As much is read at a time, and as much fits into a client's receive buffer.
const SIP: usize = 8 * 1024;
/// Between two sips.
const EVERY: Duration = Duration::from_millis(50);
/// Each of so many goes away in the middle of it.
const LEAVES: u64 = 4;

/// They read until this value is gone.
pub(crate) struct SlowReaders {
    stop: Arc<AtomicBool>,
    /// How many speeches have been begun.
    begun: Arc<AtomicU64>,
    thread: Option<JoinHandle<std::result::Result<(), String>>>,
}

struct Reader {
    socket: Socket,
    left: usize,
}

impl SlowReaders {
    pub(crate) fn start(proxy: SocketAddr, count: usize) -> Self {
        let (stop, begun) = (Arc::default(), Arc::default());
        let (stops, begins) = (Arc::clone(&stop), Arc::clone(&begun));
        let thread = std::thread::spawn(move || {
            read(proxy, count, &stops, &begins).map_err(|error| error.to_string())
        });
        Self {
            stop,
            begun,
            thread: Some(thread),
        }
    }

    /// How many speeches have been begun; an error if they have stopped reading.
    pub(crate) fn begun(&mut self) -> Result<u64> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(thread) = self.thread.take()
        {
            let why = thread.join().map_err(|_| "it panicked")?;
            return Err(format!("the slow readers have stopped: {why:?}").into());
        }
        Ok(self.begun.load(Ordering::Relaxed))
    }
}

impl Drop for SlowReaders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(proxy: SocketAddr, count: usize, stop: &AtomicBool, begun: &AtomicU64) -> Result<()> {
    let mut readers: Vec<Reader> = Vec::new();
    let mut sip = vec![0; SIP];
    while !stop.load(Ordering::Relaxed) {
        // One a turn, so that they are at different places.
        if readers.len() < count {
            readers.push(Reader::begin(proxy, begun.fetch_add(1, Ordering::Relaxed))?);
        }
        let mut at = 0;
        while at < readers.len() {
            if readers[at].sip(&mut sip)? {
                at += 1;
            } else {
                readers.swap_remove(at);
            }
        }
        pause(EVERY);
    }
    Ok(())
}

impl Reader {
    fn begin(proxy: SocketAddr, number: u64) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(SIP)?;
        socket.connect(&proxy.into())?;
        (&socket).write_all(&upgrade("/flood"))?;
        socket.set_nonblocking(true)?;
        let leaves = number % LEAVES == LEAVES - 1;
        Ok(Self {
            socket,
            left: if leaves { SPEECH / 2 } else { SPEECH },
        })
    }

    /// Reads a little; false when it has had enough. Who leaves with something unread, resets.
    fn sip(&mut self, sip: &mut [u8]) -> Result<bool> {
        match (&self.socket).read(sip) {
            Ok(0) => Err("the proxy ended a slow reader's session".into()),
            Ok(n) => {
                self.left = self.left.saturating_sub(n);
                Ok(self.left > 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
