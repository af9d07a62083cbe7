//! The vital signs of the proxy during a drain: its memory, and how fast its health answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often each is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// What is asked.
const PATHS: [&str; 2] = ["/readyz", "/metrics"];

/// What was seen until the process was gone.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// How many answers came.
    pub answers: usize,
    /// The slowest of them, and how long after the start of the watch it was asked for.
    pub slowest: Option<(&'static str, Duration, Duration)>,
    /// Resident memory in KiB: at the start of the watch, and the most that was seen.
    pub memory: (u64, u64),
}

impl Vitals {
    /// How much the memory has grown, as a share of what it was.
    pub fn growth(&self) -> f64 {
        self.memory.1 as f64 / self.memory.0 as f64 - 1.0
    }
}

/// Watches a process until its health does not answer any more. It does so on a thread of its own, so
/// that what the test's clients do is not taken for slowness of the proxy.
pub fn watch(pid: u32, health: SocketAddr) -> JoinHandle<Vitals> {
    std::thread::spawn(move || {
        let begun = Instant::now();
        let memory = resident(pid).expect("the process is there");
        let mut vitals = Vitals {
            memory: (memory, memory),
            ..Vitals::default()
        };
        loop {
            for path in PATHS {
                let asked = Instant::now();
                if answer(health, path).is_none() {
                    return vitals;
                }
                let took = asked.elapsed();
                vitals.answers += 1;
                if vitals.slowest.is_none_or(|(_, slowest, _)| took > slowest) {
                    vitals.slowest = Some((path, took, asked - begun));
                }
            }
            if let Some(memory) = resident(pid) {
                vitals.memory.1 = vitals.memory.1.max(memory);
            }
            std::thread::sleep(EVERY);
        }
    })
}

/// `VmRSS`, in KiB.
fn resident(pid: u32) -> Option<u64> {
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
