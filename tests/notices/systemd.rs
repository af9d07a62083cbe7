//! What systemd hears, on a socket of its kind.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{PATIENCE, Proxy, QUICK, anywhere, config, lameduck};

/// systemd's end.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, folder }
    }

    fn start(&self, watchdog: Option<&str>) -> Proxy {
        let mut command = lameduck();
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.envs(watchdog.map(|usec| ("WATCHDOG_USEC", usec)));
        Proxy::start_as(command, config(anywhere(), QUICK))
    }

    /// The lines of the next message.
    fn message(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).expect("a message in time");
        let text = std::str::from_utf8(&buffer[..count]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What comes up to the first line that begins like this, and that line.
    fn until(&self, start: &str) -> (Vec<String>, String) {
        let mut before = Vec::new();
        loop {
            let lines = self.message();
            if let Some(found) = lines.iter().find(|line| line.starts_with(start)) {
                return (before, found.clone());
            }
            before.extend(lines);
        }
    }
}

const EXTEND: &str = "EXTEND_TIMEOUT_USEC=15000000";

#[test]
fn a_service_is_ready_and_stops_and_asks_for_the_time_that_its_drain_takes() {
    let manager = Manager::new();
    let mut proxy = manager.start(None);
    let (before, _) = manager.until("READY=1");
    assert!(
        before
            .iter()
            .all(|line| line.starts_with("STATUS=starting")),
        "{before:?}"
    );
    let session = proxy.session();
    manager.until("STATUS=serving: 1 sessions, 1 connections");

    proxy.signal(Signal::TERM);
    let lines = manager.message();
    assert_eq!(lines[..2], ["STOPPING=1", EXTEND], "{lines:?}");
    let (_, status) = manager.until("STATUS=closing: 1 sessions, 1 connections; ");
    assert!(status.ends_with(" s left"), "{status}");
    // Long before the 15 s are over.
    let asked = Instant::now();
    let (before, _) = manager.until(EXTEND);
    assert!(asked.elapsed().as_secs() < 8, "{:?}", asked.elapsed());
    assert!(!before.contains(&"STOPPING=1".to_owned()), "said twice");
    drop(session);
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_drain_that_the_process_outlives_is_no_stop() {
    let manager = Manager::new();
    let mut proxy = manager.start(None);
    manager.until("READY=1");
    let session = proxy.session();
    proxy.call("POST", "/v1/drain");
    let (before, _) = manager.until(EXTEND);
    assert!(!before.contains(&"STOPPING=1".to_owned()), "{before:?}");
    drop(session);
    let (before, _) = manager.until("STATUS=drained: 0 sessions");
    assert!(!before.contains(&"STOPPING=1".to_owned()), "{before:?}");
    proxy.signal(Signal::TERM);
    manager.until("STOPPING=1");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_twice_as_often_as_it_needs() {
    let manager = Manager::new();
    let _proxy = manager.start(Some("2000000"));
    let (before, _) = manager.until("WATCHDOG=1");
    assert!(before.contains(&"READY=1".to_owned()), "{before:?}");
    let fed = Instant::now();
    manager.until("WATCHDOG=1");
    let after = fed.elapsed().as_millis();
    assert!((500..2000).contains(&after), "{after} ms");
}

#[test]
fn where_nobody_listens_there_is_no_thread_for_it() {
    let with = Manager::new();
    let one = with.start(None);
    let other = Proxy::start(QUICK);
    let is_for_it = |name: &String| name.starts_with("lameduck-system");
    assert!(one.threads().iter().any(is_for_it), "{:?}", one.threads());
    assert!(
        !other.threads().iter().any(is_for_it),
        "{:?}",
        other.threads()
    );
    assert_eq!(one.threads().len(), other.threads().len() + 1);
}
