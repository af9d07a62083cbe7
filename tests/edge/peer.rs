//! HAProxy before or behind a proxy.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::wire::Wire;
use crate::harness::within;

/// A running HAProxy; killed when it is dropped.
pub struct Haproxy {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    _files: TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// HAProxy with more words on its `bind` and `server` lines, and more lines; none where it is not
/// installed.
pub fn haproxy(server: &str, bind: &str, more: &str) -> Option<Haproxy> {
    if Command::new("haproxy").arg("-v").output().is_err() {
        println!("skipped: there is no haproxy");
        return None;
    }
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    drop(socket);
    let files = TempDir::new().unwrap();
    let path = files.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
         listen all\n  bind {addr}{bind}\n  {more}\n  server door {server}\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = quiet.spawn().unwrap();
    Some(Haproxy {
        child,
        addr,
        _files: files,
    })
}

impl Haproxy {
    /// A connection to it, once it listens.
    pub async fn connect(&self) -> Wire {
        let connect = async {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                if let Ok(wire) = Wire::connect(self.addr).await {
                    return wire;
                }
            }
        };
        within(10, "haproxy to listen", connect).await
    }
}
