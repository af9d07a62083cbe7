//! The vital signs of the proxy during a drain: its memory, and how fast its health answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often each is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// What is asked.
const PATHS: [&str; 2] = ["/readyz", "/metrics"];

/// What was seen from the start of the drain until the process was gone.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// How many answers came.
    pub answers: usize,
    /// The slowest of them.
    pub slowest: Slowest,
    /// Resident memory in KiB, all along: the first is that before the drain.
    pub memory: Vec<u64>,
}

/// A slow answer.
#[derive(Clone, Copy, Debug)]
pub struct Slowest {
    /// What was asked.
    pub path: &'static str,
    /// How long the answer took.
    pub took: Duration,
    /// When it was asked, on the drain's clock.
    pub at: Duration,
}

impl Vitals {
    /// Resident memory in KiB: at the start, the most until half-time, and the most after it.
    pub fn memory(&self) -> (u64, u64, u64) {
        let (first, second) = self.memory.split_at(self.memory.len() / 2);
        let most = |part: &[u64]| part.iter().max().copied().unwrap_or(0);
        (self.memory[0], most(first), most(second))
    }
}

/// A watch over a process, until its health does not answer any more.
pub struct Watch {
    begun: mpsc::Sender<Instant>,
    thread: JoinHandle<Option<Vitals>>,
}

impl Watch {
    /// Begins it, well before the drain: what the watching itself takes is no growth. It is on a thread
    /// of its own, so that what the test's clients do is not taken for slowness of the proxy.
    pub fn over(pid: u32, health: SocketAddr) -> Watch {
        let (told, begun) = mpsc::channel();
        let thread = std::thread::spawn(move || look(pid, health, &begun));
        Watch {
            begun: told,
            thread,
        }
    }

    /// The drain begins.
    pub fn begins(&self, at: Instant) {
        let _ = self.begun.send(at);
    }

    /// What was seen. Blocks until the process is gone.
    pub fn ended(self) -> Vitals {
        let vitals = self.thread.join().expect("the watch");
        vitals.expect("the drain has begun, and health has answered")
    }
}

fn look(pid: u32, health: SocketAddr, begun: &mpsc::Receiver<Instant>) -> Option<Vitals> {
    let (mut clock, mut vitals) = (None, None);
    loop {
        clock = clock.or_else(|| begun.try_recv().ok());
        for path in PATHS {
            let asked = Instant::now();
            if answer(health, path).is_none() {
                return vitals;
            }
            let took = asked.elapsed();
            let Some(begun) = clock else { continue };
            let at = asked.saturating_duration_since(begun);
            let vitals = vitals.get_or_insert(Vitals {
                answers: 0,
                slowest: Slowest { path, took, at },
                memory: Vec::new(),
            });
            vitals.answers += 1;
            if took > vitals.slowest.took {
                vitals.slowest = Slowest { path, took, at };
            }
            vitals.memory.extend(resident(pid));
        }
        std::thread::sleep(EVERY);
    }
}

/// `VmRSS`, in KiB.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A whole answer of whatever status; nothing, if nobody answers.
fn answer(health: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(health).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: health\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 ").then_some(text)
}
