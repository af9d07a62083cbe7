//! Agents in this process: what stands behind the proxy.

pub mod http;
pub mod tcp;
pub mod websocket;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::wire::Wire;

/// A listening agent; it ends when dropped, and so do its connections.
pub struct Agent {
    /// Where it listens.
    pub addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A port that belongs to an agent which is not there yet: connections to it are refused.
pub struct Vacancy(TcpSocket);

impl Vacancy {
    /// Takes a port.
    pub fn new() -> Vacancy {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Vacancy(socket)
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn listen(self) -> TcpListener {
        self.0.listen(4096).unwrap()
    }
}

impl Agent {
    /// An agent that does `serve` with each connection, which are numbered from 0.
    pub fn start<F, S>(serve: S) -> Agent
    where
        S: FnMut(usize, TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Agent::at(Vacancy::new(), serve)
    }

    /// [`Agent::start`] at a port that was taken before.
    pub fn at<F, S>(vacancy: Vacancy, mut serve: S) -> Agent
    where
        S: FnMut(usize, TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = vacancy.listen();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                sessions.spawn(serve(accepted.fetch_add(1, Ordering::SeqCst), stream));
                while sessions.try_join_next().is_some() {}
            }
        });
        Agent { addr, connections, task }
    }

    /// An agent that follows a script over the raw bytes.
    pub fn scripted<F, S>(mut serve: S) -> Agent
    where
        S: FnMut(usize, Wire) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Agent::start(move |number, stream| serve(number, Wire::new(stream)))
    }

    /// How many connections have come.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The number behind `key=` in the query of a path.
pub fn parameter(path: &str, key: &str) -> Option<u64> {
    let (_, query) = path.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}
