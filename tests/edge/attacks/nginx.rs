//! nginx in the proxy's place, under the same attacks.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::attackers::Targets;
use crate::harness::wire::Wire;
use crate::harness::within;

/// A running nginx. Dropped, it is ended.
pub struct Nginx {
    pub targets: Targets,
    child: Child,
    _files: TempDir,
}

impl Nginx {
    /// Starts it with so many workers, with a certificate, before the crowd's agent and the
    /// attackers'; its targets are as these, with addresses of its own.
    pub async fn start(
        workers: usize,
        certificate: &Path,
        key: &Path,
        agents: [SocketAddr; 2],
        like: &Targets,
    ) -> Nginx {
        let files = TempDir::new().unwrap();
        let [plain, secure, proxied] = std::array::from_fn(|_| {
            // A port that was free a moment ago: it cannot say which one the system chose.
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.local_addr().unwrap()
        });
        let mut text = include_str!("nginx.conf").to_owned();
        let values = [
            ("workers", workers.to_string()),
            ("dir", files.path().display().to_string()),
            ("certificate", certificate.display().to_string()),
            ("key", key.display().to_string()),
            ("plain", plain.to_string()),
            ("secure", secure.to_string()),
            ("proxied", proxied.to_string()),
            ("crowd", agents[0].to_string()),
            ("agent", agents[1].to_string()),
        ];
        for (name, value) in values {
            text = text.replace(&format!("{{{name}}}"), &value);
        }
        let file = files.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(files.path()).arg("-c").arg(file);
        let child = command.stdin(Stdio::null()).spawn().expect("nginx");
        let nginx = Nginx {
            targets: Targets {
                plain,
                secure,
                proxied,
                ..like.clone()
            },
            child,
            _files: files,
        };
        let open = async {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while Wire::connect(proxied).await.is_err() {
                pace.tick().await;
            }
        };
        within(20, "nginx to serve", open).await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end only if it can tell them to.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}
