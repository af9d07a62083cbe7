//! The first words of a TLS client whose session is passed through: which server it wants.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::session::Refusal;

/// How long a ClientHello may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest: post-quantum keys and many extensions take some kilobytes.
const LARGEST: usize = 16 * 1024;

/// What was read of a client, all of which goes to the agent.
pub(super) struct Hello {
    pub(super) socket: TcpStream,
    pub(super) bytes: Vec<u8>,
    /// The server name that is asked for (RFC 6066 3), if one is.
    pub(super) name: Option<String>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHello {
    /// The client left without a word: a probe.
    #[error("the client said nothing")]
    Nothing,
    /// It is none of TLS, or too large.
    #[error("not a ClientHello: {0}")]
    Malformed(String),
    /// It has not come in time.
    #[error("no ClientHello within {LIMIT:?}")]
    Late,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

impl NoHello {
    /// What it counts as; a probe is nothing.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            NoHello::Nothing | NoHello::Broken(_) => None,
            NoHello::Malformed(_) | NoHello::Late => Some(Refusal::TlsHandshake),
        }
    }
}

/// Reads a ClientHello.
///
/// # Errors
/// When none comes.
pub(super) async fn read(socket: TcpStream) -> Result<Hello, NoHello> {
    let mut socket = tokio::net::TcpStream::from_std(socket)?;
    let mut bytes = Vec::new();
    let name = match timeout(LIMIT, whole(&mut socket, &mut bytes)).await {
        Ok(name) => name?,
        Err(_) if bytes.is_empty() => return Err(NoHello::Nothing),
        Err(_) => return Err(NoHello::Late),
    };
    Ok(Hello {
        socket: socket.into_std()?,
        bytes,
        name,
    })
}

async fn whole(
    socket: &mut tokio::net::TcpStream,
    bytes: &mut Vec<u8>,
) -> Result<Option<String>, NoHello> {
    let mut acceptor = Acceptor::default();
    loop {
        let seen = bytes.len();
        if socket.read_buf(bytes).await? == 0 {
            return Err(match seen {
                0 => NoHello::Nothing,
                _ => NoHello::Malformed("the stream ended inside it".to_owned()),
            });
        }
        let mut new = &bytes[seen..];
        while !new.is_empty() {
            acceptor.read_tls(&mut new as &mut dyn Read)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return Ok(hello.server_name().map(str::to_owned));
                }
                Ok(None) => {}
                Err((error, _)) => return Err(NoHello::Malformed(error.to_string())),
            }
        }
        if bytes.len() > LARGEST {
            return Err(NoHello::Malformed("it is too large".to_owned()));
        }
    }
}
