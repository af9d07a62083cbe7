//! The health listener itself.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::net::{AcceptError, Listening, Tasks};

use super::health::Health;

/// Connections at once: probes and scrapers are few, and each takes a descriptor that is reserved.
const CONNECTIONS: usize = 24;
/// For a request's head, and for a connection that is kept alive without one.
const PATIENCE: Duration = Duration::from_secs(75);
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers health and metrics on a bound socket, for as long as it is polled inside a `LocalSet`.
///
/// # Errors
/// When the socket cannot be watched.
pub async fn serve(socket: TcpListener, health: Health, tasks: Tasks) -> io::Result<Infallible> {
    let listening = Listening::new(socket)?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let health = Rc::new(health);
    loop {
        let (socket, _) = match listening.accept().await {
            Ok(accepted) => accepted,
            Err(AcceptError::Passing(_)) => continue,
            Err(AcceptError::Exhausted(_)) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            continue;
        };
        let Ok(socket) = tokio::net::TcpStream::from_std(socket) else {
            continue;
        };
        let health = Rc::clone(&health);
        tasks.spawn(async move {
            let service = service_fn(|request| {
                let health = Rc::clone(&health);
                async move { Ok::<_, Infallible>(health.answer(request).await) }
            });
            // How a probe's connection ends is no news.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(socket), service)
                .await;
            drop(permit);
        });
    }
}
