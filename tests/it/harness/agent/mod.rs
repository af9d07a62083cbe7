//! Agents in this process: what stands behind the proxy.

pub mod hook;
pub mod http;
pub mod tcp;
pub mod websocket;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::wire::Wire;

/// A listening agent; it ends when dropped, and so do its connections.
///
/// What panics in it brings the test down when it is dropped.
pub struct Agent {
    /// Where it listens.
    pub addr: SocketAddr,
    panicked: Arc<AtomicBool>,
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
        let panicked = Arc::new(AtomicBool::new(false));
        let failed = panicked.clone();
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            let mut numbers = 0..;
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        let _ = stream.set_nodelay(true);
                        sessions.spawn(serve(numbers.next().expect("endless"), stream));
                    }
                    Some(Err(error)) = sessions.join_next() => {
                        failed.fetch_or(error.is_panic(), Ordering::SeqCst);
                    }
                }
            }
        });
        Agent {
            addr,
            panicked,
            task,
        }
    }

    /// An agent that follows a script over the raw bytes.
    pub fn scripted<F, S>(mut serve: S) -> Agent
    where
        S: FnMut(usize, Wire) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Agent::start(move |number, stream| serve(number, Wire::new(stream)))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        if self.panicked.load(Ordering::SeqCst) && !std::thread::panicking() {
            panic!("the agent's part of the test has panicked");
        }
    }
}

/// The number behind `key=` in the query of a path.
pub fn parameter(path: &str, key: &str) -> Option<u64> {
    let (_, query) = path.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}
