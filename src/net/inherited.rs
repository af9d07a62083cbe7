//! Listening sockets that systemd hands over (socket activation, sd_listen_fds(3)).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::{TcpBound, UnixBound};

/// What a descriptor turned out to be.
#[derive(Debug)]
pub enum GivenSocket {
    /// A listening TCP socket.
    Tcp(TcpListener),
    /// A listening unix socket.
    Unix(UnixListener),
    /// Nothing that connections come from.
    Other,
}

/// A descriptor that was handed over.
#[derive(Debug)]
pub struct Given {
    /// Its number.
    pub number: usize,
    /// Its name; that of the socket unit, unless the unit says another.
    pub name: String,
    /// What it is.
    pub socket: GivenSocket,
}

/// The sockets that were handed over and nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Given>);

impl Inherited {
    /// These.
    pub fn new(given: Vec<Given>) -> Inherited {
        Inherited(given)
    }

    /// Those that the environment speaks of. To be called once, before there are other threads,
    /// since the variables are taken out of the environment.
    #[cfg(feature = "systemd")]
    pub fn from_environment() -> Inherited {
        // Not listenfd's business; it reads the others.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = listenfd::ListenFd::from_env();
        let given = (0..fds.len()).map(|index| Given {
            number: FIRST + index,
            name: names.next().unwrap_or_default().to_owned(),
            socket: socket(&mut fds, index),
        });
        Inherited(given.collect())
    }

    /// The socket for a TCP address: the one of this name, or else the one bound to the address.
    ///
    /// # Errors
    /// When the one of this name is no listening TCP socket.
    pub fn tcp(&mut self, name: &str, addr: SocketAddr) -> io::Result<Option<TcpBound>> {
        let is_bound_there = |given: &Given| match &given.socket {
            GivenSocket::Tcp(socket) => socket.local_addr().is_ok_and(|bound| bound == addr),
            _ => false,
        };
        let Some(given) = self.take(name, is_bound_there) else {
            return Ok(None);
        };
        match given.socket {
            GivenSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Some(TcpBound {
                    socket,
                    is_shared: true,
                }))
            }
            _ => Err(unfit(&given, "is no listening TCP socket")),
        }
    }

    /// The same for a unix socket.
    ///
    /// # Errors
    /// When the one of this name is no listening unix socket.
    pub fn unix(&mut self, name: &str, path: &Path) -> io::Result<Option<UnixBound>> {
        let is_bound_there = |given: &Given| match &given.socket {
            GivenSocket::Unix(socket) => socket
                .local_addr()
                .is_ok_and(|bound| bound.as_pathname() == Some(path)),
            _ => false,
        };
        let Some(given) = self.take(name, is_bound_there) else {
            return Ok(None);
        };
        match given.socket {
            GivenSocket::Unix(socket) => UnixBound::inherited(socket).map(Some),
            _ => Err(unfit(&given, "is no listening unix socket")),
        }
    }

    /// To be called when everybody has looked.
    ///
    /// # Errors
    /// When a socket is left: its connections would wait for nobody.
    pub fn none_is_left(&self) -> io::Result<()> {
        let Some(given) = self.0.first() else {
            return Ok(());
        };
        let where_bound = match &given.socket {
            GivenSocket::Tcp(socket) => socket.local_addr().map(|addr| addr.to_string()).ok(),
            GivenSocket::Unix(socket) => socket.local_addr().map(|addr| format!("{addr:?}")).ok(),
            GivenSocket::Other => return Err(unfit(given, "is no listening TCP or unix socket")),
        };
        let what = format!(
            "is bound to {}, and fits nothing: name it after a listener, `health` or `admin` \
             (FileDescriptorName=), or bind it where one of them is",
            where_bound.unwrap_or_default()
        );
        Err(unfit(given, &what))
    }

    fn take(&mut self, name: &str, is_bound_there: impl Fn(&Given) -> bool) -> Option<Given> {
        // Several sockets of one unit have the same name: the address tells them apart.
        let both = |given: &Given| given.name == name && is_bound_there(given);
        let named = |given: &Given| given.name == name;
        let given = &self.0;
        let at = given
            .iter()
            .position(both)
            .or_else(|| given.iter().position(named))
            .or_else(|| given.iter().position(&is_bound_there))?;
        Some(self.0.remove(at))
    }
}

/// The first descriptor that systemd hands over.
#[cfg(feature = "systemd")]
const FIRST: usize = 3;

#[cfg(feature = "systemd")]
fn socket(fds: &mut listenfd::ListenFd, index: usize) -> GivenSocket {
    use socket2::SockRef;
    // One that is connected already (Accept=yes) is no listener.
    if let Ok(Some(tcp)) = fds.take_tcp_listener(index) {
        let listens = SockRef::from(&tcp).is_listener().unwrap_or(false);
        return if listens {
            GivenSocket::Tcp(tcp)
        } else {
            GivenSocket::Other
        };
    }
    match fds.take_unix_listener(index) {
        Ok(Some(unix)) if SockRef::from(&unix).is_listener().unwrap_or(false) => {
            GivenSocket::Unix(unix)
        }
        _ => GivenSocket::Other,
    }
}

fn unfit(given: &Given, what: &str) -> io::Error {
    let Given { number, name, .. } = given;
    let named = if name.is_empty() {
        "which has no name".to_owned()
    } else {
        format!("named `{name}`")
    };
    let text = format!("descriptor {number}, {named}, {what}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(number: usize, name: &str) -> (Given, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let given = Given {
            number,
            name: name.to_owned(),
            socket: GivenSocket::Tcp(socket),
        };
        (given, addr)
    }

    #[test]
    fn a_name_goes_before_an_address_and_both_before_either() {
        let (one, first) = tcp(3, "chat");
        let (two, second) = tcp(4, "chat");
        let (three, third) = tcp(5, "");
        let mut inherited = Inherited::new(vec![one, two, three]);
        let addr = |bound: Option<TcpBound>| bound.unwrap().socket.local_addr().unwrap();
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(addr(inherited.tcp("chat", second).unwrap()), second);
        assert_eq!(addr(inherited.tcp("chat", third).unwrap()), first);
        assert!(inherited.tcp("chat", elsewhere).unwrap().is_none());
        assert_eq!(addr(inherited.tcp("web", third).unwrap()), third);
        inherited.none_is_left().unwrap();
    }

    #[test]
    fn what_fits_nothing_is_named() {
        let (given, addr) = tcp(7, "lameduck.socket");
        let inherited = Inherited::new(vec![given]);
        let error = inherited.none_is_left().unwrap_err().to_string();
        for part in ["descriptor 7", "`lameduck.socket`", &addr.to_string()] {
            assert!(error.contains(part), "{error}");
        }
        let wrong = Given {
            number: 3,
            name: "chat".to_owned(),
            socket: GivenSocket::Other,
        };
        let error = Inherited::new(vec![wrong]).tcp("chat", addr).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("descriptor 3, named `chat`, is no listening TCP"),
            "{error}"
        );
    }
}
