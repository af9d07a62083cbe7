//! The accept loop of health and of the control API.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::net::{AcceptError, Listening, Tasks, UnixBound, UnixListening};

/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(50);
/// The largest request head, and what is written ahead of a client that reads slowly.
const BUFFER: usize = 16 * 1024;

/// What answers the requests of a listener.
pub trait Answers: 'static {
    /// The body of its answers.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static;

    /// Connections at once; each takes a descriptor that is reserved.
    const CONNECTIONS: usize;

    /// For a request's head, and for a connection that is kept alive without one.
    const PATIENCE: Duration;

    /// Answers one request, which came to the address `local`; to none by a unix socket.
    fn answer(
        &self,
        request: Request<Incoming>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Self::Body>>;
}

/// A bound socket.
#[derive(Debug)]
pub enum Bound {
    /// Of an address and a port.
    Tcp(TcpListener),
    /// Of a file.
    Unix(UnixBound),
}

/// Where connections come from.
enum Listens {
    Tcp(Listening),
    Unix(UnixListening),
}

/// A connection.
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(UnixStream),
}

impl Listens {
    fn new(bound: Bound) -> io::Result<Listens> {
        Ok(match bound {
            Bound::Tcp(socket) => Listens::Tcp(Listening::new(socket)?),
            Bound::Unix(socket) => Listens::Unix(UnixListening::new(socket)?),
        })
    }

    async fn accept(&self) -> Result<Accepted, AcceptError> {
        Ok(match self {
            Listens::Tcp(listening) => Accepted::Tcp(listening.accept().await?.0),
            Listens::Unix(listening) => Accepted::Unix(listening.accept().await?),
        })
    }
}

/// Answers on a bound socket, for as long as it is polled inside a `LocalRuntime`. When `stop` is
/// cancelled no more connections are taken, and those there are end with the answer under way.
///
/// # Errors
/// When the socket cannot be watched.
pub async fn serve<A: Answers>(
    socket: Bound,
    answers: A,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> io::Result<()> {
    let listening = Listens::new(socket)?;
    let permits = Arc::new(Semaphore::new(A::CONNECTIONS));
    let answers = Rc::new(answers);
    loop {
        // First the permit: what waits for one waits in the kernel's queue.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => return Ok(()),
        };
        let accepted = tokio::select! {
            accepted = listening.accept() => accepted,
            () = stop.cancelled() => return Ok(()),
        };
        let socket = match accepted {
            Ok(socket) => socket,
            Err(AcceptError::Passing(_)) => continue,
            Err(AcceptError::Exhausted(_)) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = permit else { continue };
        let (answers, stop) = (Rc::clone(&answers), stop.clone());
        tasks.spawn(async move {
            match socket {
                Accepted::Tcp(socket) => {
                    let Ok(socket) = TcpStream::from_std(socket) else {
                        return;
                    };
                    let Ok(local) = socket.local_addr() else {
                        return;
                    };
                    connection_of(socket, Some(local), &*answers, &stop).await;
                }
                Accepted::Unix(socket) => connection_of(socket, None, &*answers, &stop).await,
            }
            drop(permit);
        });
    }
}

/// One connection, to its end. How a probe's connection ends is no news.
async fn connection_of<A: Answers>(
    socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
    local: Option<SocketAddr>,
    answers: &A,
    stop: &CancellationToken,
) {
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(answers.answer(request, local).await) },
        );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(A::PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
