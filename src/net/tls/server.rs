//! TLS as a server: the settings of a listener, and the handshake.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{ClientAuth, Protocol, ServerTls, TlsVersion};
use crate::net::Tarpit;
use crate::session::Refusal;

use super::certificates::Certificates;
use super::fault::Fault;
use super::layer::Layer;
use super::stream::TlsStream;
use super::turns::Turns;
use super::{provider, trust};

/// TLS 1.3 alone, and with 1.2.
const ALONE: &[&SupportedProtocolVersion] = &[&TLS13];
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The certificates in use: read once a handshake, replaced when the files change.
#[derive(Debug)]
pub(super) struct Shown(RwLock<Arc<Certificates>>);

impl Shown {
    pub(super) fn now(&self) -> Arc<Certificates> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, certificates: Certificates) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificates);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now()
            .pick(hello.server_name(), hello.signature_schemes())
    }
}

/// How a look at the files has gone.
#[derive(Debug, Default)]
pub struct Reloads {
    /// New certificates are in use.
    pub taken: AtomicU64,
    /// What the files held was no good, and the old ones stayed.
    pub refused: AtomicU64,
}

/// The TLS of a listener, shared by the workers.
#[derive(Debug)]
pub struct TlsListener {
    pub(super) settings: ServerTls,
    config: Arc<ServerConfig>,
    pub(super) shown: Arc<Shown>,
    /// How the looks at changed files have gone.
    pub reloads: Reloads,
}

impl TlsListener {
    /// Reads the files of a `tls` table.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(settings: &ServerTls, protocol: Protocol) -> Result<TlsListener, Vec<Fault>> {
        let certificates = Certificates::load(settings);
        let verifier = client_roots(settings);
        let (certificates, roots) = match (certificates, verifier) {
            (Ok(certificates), Ok(roots)) => (certificates, roots),
            (certificates, roots) => {
                let mut faults = certificates.err().unwrap_or_default();
                faults.extend(roots.err());
                return Err(faults);
            }
        };
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certificates))));
        let library = |error: &dyn std::fmt::Display| {
            vec![Fault {
                key: "client_ca_file",
                what: error.to_string(),
                help: "name a PEM file with the certificates of authorities".to_owned(),
            }]
        };
        let versions = match settings.min_version {
            TlsVersion::Tls12 => BOTH,
            TlsVersion::Tls13 => ALONE,
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| library(&error))?;
        let builder = match roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = match settings.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Off | ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| library(&error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&shown) as Arc<_>);
        if protocol == Protocol::Http {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        // Of the listener, and not of the process: a ticket holds whose certificate was verified,
        // and must not be worth anything where others are trusted.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| library(&error))?;
        Ok(TlsListener {
            settings: settings.clone(),
            config: Arc::new(config),
            shown,
            reloads: Reloads::default(),
        })
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Arc<Certificates> {
        self.shown.now()
    }
}

fn client_roots(settings: &ServerTls) -> Result<Option<rustls::RootCertStore>, Fault> {
    let (ClientAuth::Optional | ClientAuth::Required, Some(path)) =
        (settings.client_auth, &settings.client_ca_file)
    else {
        return Ok(None);
    };
    let roots = trust::of_file(path).map_err(|what| Fault {
        key: "client_ca_file",
        what,
        help: "name a PEM file with the certificates of authorities".to_owned(),
    });
    roots.map(Some)
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client left, or was there to see whether somebody listens, without a word.
    #[error("the client said nothing")]
    Silent,
    /// As many are under way as may be.
    #[error("{0} handshakes are under way")]
    Crowded(usize),
    /// It took too long.
    #[error("no handshake within {0:?}")]
    Timeout(Duration),
    /// It failed.
    #[error("the handshake failed: {0}")]
    Failed(io::Error),
}

impl HandshakeError {
    /// As what it counts, unless nobody wanted anything.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            HandshakeError::Silent => None,
            HandshakeError::Crowded(_) => Some(Refusal::TlsCrowd),
            HandshakeError::Timeout(_) | HandshakeError::Failed(_) => Some(Refusal::TlsHandshake),
        }
    }
}

/// The handshakes of one listener on one worker.
#[derive(Clone, Debug)]
pub struct Handshakes {
    listener: Arc<TlsListener>,
    under_way: Rc<Cell<usize>>,
    turns: Turns,
    tarpit: Tarpit,
}

/// One that is under way.
struct UnderWay<'c>(&'c Cell<usize>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub struct Broken {
    /// Why.
    pub why: HandshakeError,
    /// The connection, where there is still one.
    connection: Option<std::net::TcpStream>,
    tarpit: Tarpit,
}

impl Broken {
    /// Closes the connection, and keeps it from being made anew at once. Whoever counts has counted by then.
    pub async fn close(self) {
        if let Some(connection) = self.connection {
            if let Some(wait) = self.tarpit.enter() {
                wait.await;
            }
            drop(connection);
        }
    }
}

impl Handshakes {
    /// The settings of the listener.
    pub fn settings(&self) -> &ServerTls {
        &self.listener.settings
    }

    /// None under way yet; they take their turns with those of the worker's other listeners, and share the
    /// tarpit with all whom it refuses.
    pub fn new(listener: Arc<TlsListener>, turns: Turns, tarpit: Tarpit) -> Handshakes {
        let under_way = Rc::default();
        Handshakes {
            listener,
            under_way,
            turns,
            tarpit,
        }
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// Why nothing came of it, and what is left to be closed.
    pub async fn shake(&self, socket: std::net::TcpStream) -> Result<TlsStream, Broken> {
        let settings = &self.listener.settings;
        let most = settings.max_handshakes.get();
        if self.under_way.get() >= most {
            return Err(self.broken(HandshakeError::Crowded(most), Some(socket)));
        }
        let socket = TcpStream::from_std(socket).map_err(|e| self.failed(e))?;
        let layer = Layer::server(Arc::clone(&self.listener.config)).map_err(|e| self.failed(e))?;
        let limit = settings.handshake_timeout;
        self.under_way.set(self.under_way.get() + 1);
        let _under_way = UnderWay(&self.under_way);
        let shaken = timeout(limit, self.go_on(TlsStream::new(socket, layer))).await;
        shaken.unwrap_or_else(|_| Err(self.broken(HandshakeError::Timeout(limit), None)))
    }

    async fn go_on(&self, mut stream: TlsStream) -> Result<TlsStream, Broken> {
        loop {
            stream.can_shake().await.map_err(|e| self.failed(e))?;
            let step = self.turns.take(move || {
                let shaken = stream.shake();
                (stream, shaken)
            });
            let shaken;
            (stream, shaken) = step.await.map_err(|e| self.failed(e))?;
            match shaken {
                Ok(true) => return Ok(stream),
                Ok(false) => {}
                Err(_) if !stream.has_begun() => {
                    return Err(self.broken(HandshakeError::Silent, None));
                }
                // Who breaks the rules was told so, and is still there.
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    let connection = stream.into_parts().0.into_std().ok();
                    return Err(self.broken(HandshakeError::Failed(e), connection));
                }
                Err(e) => return Err(self.failed(e)),
            }
        }
    }

    fn failed(&self, e: io::Error) -> Broken {
        self.broken(HandshakeError::Failed(e), None)
    }

    fn broken(&self, why: HandshakeError, connection: Option<std::net::TcpStream>) -> Broken {
        Broken {
            why,
            connection,
            tarpit: self.tarpit.clone(),
        }
    }
}
