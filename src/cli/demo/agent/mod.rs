//! A small agent that holds state per connection, as the ones do that the proxy is made for.
//!
//! It knows nothing of drains: it answers a Close with a Close, a FIN with a FIN, and that is all
//! that is asked of it.

mod http;
mod sse;
mod tcp;
mod websocket;

pub(super) use http::NUMBER;
pub(super) use tcp::HELLO;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::book::Book;

/// How long the agent takes no connection after the system has refused it one (no descriptor is
/// left, mostly), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running agent. It ends when this is dropped, cutting what is open.
pub(super) struct Agent {
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it echoes lines.
    pub tcp: SocketAddr,
    /// What it writes its sessions into.
    pub book: Arc<Book>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

/// What every session of the agent has at hand.
#[derive(Clone)]
struct Desk {
    book: Arc<Book>,
    tasks: TaskTracker,
}

impl Agent {
    /// Binds both addresses and serves them on a thread of its own.
    ///
    /// # Errors
    /// When an address cannot be bound, or the thread not be had.
    pub(super) fn start(
        http: SocketAddr,
        tcp: SocketAddr,
        book: Arc<Book>,
    ) -> Result<Agent, Error> {
        let runtime = super::runtime()?;
        let listen = |address| {
            runtime
                .block_on(TcpListener::bind(address))
                .and_then(|listener| Ok((listener.local_addr()?, listener)))
                .map_err(|source| Error::Bind {
                    what: "agent",
                    address,
                    source,
                })
        };
        let (http, http_listener) = listen(http)?;
        let (tcp, tcp_listener) = listen(tcp)?;
        let desk = Desk {
            book: Arc::clone(&book),
            tasks: TaskTracker::new(),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = async move {
            tokio::select! {
                () = accept(http_listener, |socket| {
                    desk.tasks.spawn(http::serve(socket, desk.clone()));
                }) => {}
                () = accept(tcp_listener, |socket| {
                    desk.tasks.spawn(tcp::serve(socket, Arc::clone(&desk.book)));
                }) => {}
                () = stopped.cancelled() => {}
            }
        };
        let thread = thread::Builder::new()
            .name("demo-agent".to_owned())
            .spawn(move || runtime.block_on(serve))
            .map_err(Error::Start)?;
        Ok(Agent {
            http,
            tcp,
            book,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the agent's thread has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Takes connections for ever.
async fn accept(listener: TcpListener, mut serve: impl FnMut(TcpStream)) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // Each message is small and waited for.
                let _ = socket.set_nodelay(true);
                serve(socket);
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
