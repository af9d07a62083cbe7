//! Processes that a bench starts.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use crate::Result;

/// How long a process may take until it listens.
pub(crate) const START: Duration = Duration::from_secs(10);

/// A port that was free a moment ago, for programs that cannot say which one the system chose.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// An agent's listener, with room for all that may come at once.
pub(crate) fn agent_listener() -> Result<TcpListener> {
    let agent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&agent, 4096)?;
    Ok(agent)
}

/// What `find` first makes of the lines that a process says. What it says later is read and dropped, so that it
/// never has to wait for room in the pipe.
pub(crate) fn first_match<R, T>(
    out: R,
    mut find: impl FnMut(&str) -> Option<T> + Send + 'static,
) -> Result<T>
where
    R: std::io::Read + Send + 'static,
    T: Send + 'static,
{
    let (found, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(out)
            .lines()
            .map_while(std::result::Result::ok)
        {
            match find(&line) {
                Some(address) => drop(found.send(Ok(address))),
                None if said.len() < 2000 => said = said + "\n" + &line,
                None => {}
            }
        }
        drop(found.send(Err(said)));
    });
    match wait.recv_timeout(START) {
        Ok(Ok(address)) => Ok(address),
        Ok(Err(said)) => Err(format!("it ended without naming its address: {said}").into()),
        Err(_) => Err("it did not name its address".into()),
    }
}
