//! A client's raw connection, before it is relayed.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::net::tls::{Broken, Handshakes, Layer, TlsStream};
use crate::session::Connected;

/// How long a client that is turned away has to read our FIN.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection.
pub(super) enum Client {
    Plain(TcpStream),
    Tls(TlsStream),
}

impl Client {
    /// Shakes hands, where TLS is spoken.
    ///
    /// # Errors
    /// Why nothing came of it.
    pub(super) async fn greet(
        socket: TcpStream,
        tls: Option<&Handshakes>,
    ) -> Result<Client, Broken> {
        let Some(tls) = tls else {
            return Ok(Client::Plain(socket));
        };
        tls.shake(socket).await.map(Client::Tls)
    }

    /// The socket and its TLS.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub(super) fn into_parts(self) -> io::Result<(TcpStream, Option<Box<Layer>>)> {
        match self {
            Client::Plain(socket) => Ok((socket, None)),
            Client::Tls(stream) => {
                let (socket, layer) = stream.into_parts();
                Ok((socket.into_std()?, Some(layer)))
            }
        }
    }

    /// Closes the connection without a reset.
    pub(super) async fn turn_away(self, connected: Connected) {
        match self {
            Client::Plain(socket) => {
                if let Ok(socket) = tokio::net::TcpStream::from_std(socket) {
                    say_goodbye(socket).await;
                }
            }
            Client::Tls(stream) => say_goodbye(stream).await,
        }
        drop(connected);
    }
}

/// A FIN, and then the client's own end is waited for a while.
async fn say_goodbye(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let goodbye = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // A client that does not end its side in time is closed all the same.
    let _ = timeout(LINGER, goodbye).await;
}
