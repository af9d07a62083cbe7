//! TLS between clients and the proxy, for clients that know none: a relay that speaks it for them.

use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::authority::{Authority, ONLY_13, Pair};
use super::proxy::Builder;
use super::stunnel::Stunnel;

/// The file of the authority's certificate.
const AUTHORITY: &str = "ca.pem";

/// An authority, and a certificate that a proxy shows.
pub struct Certified {
    authority: Authority,
    pair: Pair,
    folder: TempDir,
}

impl Certified {
    /// A certificate for `localhost`.
    pub fn new() -> Certified {
        let authority = Authority::new("The Authority");
        let folder = TempDir::new().unwrap();
        let pair = authority.pair(&["localhost"]);
        pair.write(folder.path(), "tls");
        authority.write(&folder.path().join(AUTHORITY));
        Certified {
            authority,
            pair,
            folder,
        }
    }

    /// Has the listener that was added last speak TLS.
    pub fn secures(&self, proxy: Builder) -> Builder {
        let path = |name: &str| self.folder.path().join(name);
        proxy.tls(&path("tls.crt"), &path("tls.key"))
    }

    /// What a server needs to show the same.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.authority.server(&self.pair, false)
    }

    /// A relay that speaks TLS to `target` by OpenSSL.
    pub fn before_with_openssl(&self, target: SocketAddr) -> Stunnel {
        Stunnel::before(target, &self.folder.path().join(AUTHORITY))
    }

    /// A relay that speaks TLS to `target` by rustls.
    pub async fn before(&self, target: SocketAddr) -> Secured {
        let connector = TlsConnector::from(self.authority.client(ONLY_13, None));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let connector = Arc::new(connector);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => {
                        connections.spawn(carry(client, target, Arc::clone(&connector)));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Secured { addr, task }
    }
}

/// A relay; it ends when dropped, and so do its connections.
pub struct Secured {
    /// Where it listens.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection. What ends without a close_notify, or in a reset, is shown as a reset.
async fn carry(mut near: TcpStream, target: SocketAddr, connector: Arc<TlsConnector>) {
    let name = ServerName::try_from("localhost").unwrap();
    let carried = async {
        let far = TcpStream::connect(target).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let mut far = connector.connect(name, far).await?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    };
    if carried.await.is_err() {
        let _ = near.set_zero_linger();
    }
}
