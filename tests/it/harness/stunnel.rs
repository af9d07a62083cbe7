//! OpenSSL between clients and the proxy: stunnel, which is a relay that speaks TLS for them.
//!
//! It passes a half-close on in both directions, a close_notify as a FIN and a FIN as a
//! close_notify. What ends without a close_notify, and even what is reset, it shows in plain as a FIN
//! too; so it is the log of stunnel that says how a connection ended.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::log::Log;

/// A running stunnel; it ends when dropped, and so do its connections.
pub struct Stunnel {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
    log: Log,
    _files: TempDir,
}

/// How the connections through a stunnel ended.
#[derive(Debug, Default)]
pub struct Ends {
    /// All of them.
    pub connections: usize,
    /// What was said of those whose other side sent no close_notify, each in a text.
    pub torn: Vec<String>,
}

/// Whether it is installed; if not, says that `test` is left out.
pub fn is_there_for(test: &str) -> bool {
    let asked = Command::new("stunnel").arg("-version").output();
    if asked.is_err() {
        eprintln!("LEFT OUT: {test} needs stunnel (Debian: apt-get install stunnel4)");
    }
    asked.is_ok()
}

impl Stunnel {
    /// Speaks TLS to `target`, which has to show a certificate for `localhost` by this authority.
    pub fn before(target: SocketAddr, authority: &Path) -> Stunnel {
        // The socket is handed over, so that the port is known and nothing has to be waited for. The
        // number that systemd would set has to be that of the process that is exec'ed in the end.
        const SCRIPT: &str =
            "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec stunnel \"$0\"";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let files = TempDir::new().unwrap();
        let file = files.path().join("stunnel.conf");
        let text = format!(
            "foreground = yes\npid =\nsyslog = no\ndebug = info\n\
             [relay]\nclient = yes\naccept = {addr}\nconnect = {target}\nsni = localhost\n\
             CAfile = {}\nverifyChain = yes\ncheckHost = localhost\n",
            authority.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(&file)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let log = Log::follow(child.stderr.take().unwrap());
        Stunnel {
            addr,
            child,
            log,
            _files: files,
        }
    }

    /// How all connections so far ended, once they have. Unbounded.
    pub async fn ends(&self) -> Ends {
        let ends = self.log.find(|log| ends(&log.lines())).await;
        ends.unwrap_or_else(|| panic!("stunnel ended:\n{}", self.log))
    }
}

impl Drop for Stunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing while one is open.
fn ends(lines: &[String]) -> Option<Ends> {
    let mut connections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines {
        // DATE TIME LOG6[NUMBER]: TEXT
        let Some((_, said)) = line.split_once(" LOG") else {
            continue;
        };
        let Some((number, text)) = said.split_once("]: ") else {
            continue;
        };
        let number = number.get(2..).unwrap_or_default();
        if number.parse::<u64>().is_ok() {
            connections.entry(number).or_default().push(text);
        }
    }
    let said = |texts: &[&str], what: &str| texts.iter().any(|text| text.starts_with(what));
    let mut ends = Ends {
        connections: connections.len(),
        ..Ends::default()
    };
    for texts in connections.values() {
        let reset = said(texts, "Connection reset:");
        if !reset && !said(texts, "Connection closed:") {
            return None;
        }
        if reset || !said(texts, "TLS closed (SSL_read)") {
            ends.torn.push(texts.join("; "));
        }
    }
    Some(ends)
}
