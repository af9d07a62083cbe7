//! The listening sockets: those that were handed over, and those that are bound for the rest.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::admin;
use crate::config::{Bind, Config};
use crate::net::{Inherited, TcpBound, UnixBound, bind};

use super::error::Error;

/// All of them.
pub(super) struct Sockets {
    pub(super) listeners: Vec<TcpBound>,
    pub(super) health: TcpListener,
    pub(super) admin: admin::Bound,
}

impl Sockets {
    /// Takes what was handed over, and binds what was not.
    ///
    /// # Errors
    /// When an address cannot be bound, or when a socket fits nothing.
    pub(super) fn bind(inherited: &mut Inherited, config: &Config) -> Result<Sockets, Error> {
        // Taken before anything is bound, which would fail where a socket is bound already.
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let name = &*listener.name.0;
            let given = inherited.tcp(name, listener.bind);
            listeners.push(given.map_err(|source| at(&format!("listener {name}"), source))?);
        }
        let health_given = inherited.tcp("health", config.health.bind);
        let health_given = health_given.map_err(|source| at("health.bind", source))?;
        let admin_given = admin(inherited, config).map_err(|source| at("admin.bind", source))?;
        let none_is_left = inherited.none_is_left();
        none_is_left.map_err(|source| at("LISTEN_FDS", source))?;

        let listeners = listeners.into_iter().zip(&config.listeners);
        let listeners = listeners.map(|(given, listener)| {
            tcp(given, listener.bind)
                .map_err(|source| at(&format!("listener {}", listener.name), source))
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let health = tcp(health_given, config.health.bind);
        let health = health.map_err(|source| at("health.bind", source))?.socket;
        let admin = match (admin_given, &config.admin.bind) {
            (Some(given), _) => Ok(given),
            (None, Bind::Tcp(addr)) => bind(*addr).map(admin::Bound::Tcp),
            (None, Bind::Unix(path)) => UnixBound::bind(path).map(admin::Bound::Unix),
        };
        Ok(Sockets {
            listeners,
            health,
            admin: admin.map_err(|source| at("admin.bind", source))?,
        })
    }
}

fn at(key: &str, source: io::Error) -> Error {
    let key = key.to_owned();
    Error::Bind { key, source }
}

fn tcp(given: Option<TcpBound>, addr: SocketAddr) -> io::Result<TcpBound> {
    match given {
        Some(given) => Ok(given),
        None => Ok(TcpBound {
            socket: bind(addr)?,
            is_shared: false,
        }),
    }
}

/// The socket of the control API, of the kind that is configured: the rules for who may reach it
/// are those of the configuration.
fn admin(inherited: &mut Inherited, config: &Config) -> io::Result<Option<admin::Bound>> {
    match &config.admin.bind {
        Bind::Unix(path) => Ok(inherited.unix("admin", path)?.map(admin::Bound::Unix)),
        Bind::Tcp(addr) => {
            let Some(TcpBound { socket, .. }) = inherited.tcp("admin", *addr)? else {
                return Ok(None);
            };
            let bound = socket.local_addr()?;
            if !bound.ip().to_canonical().is_loopback() && config.admin.token.is_none() {
                let what = format!(
                    "the socket that was handed over is bound to {bound}: it needs \
                     admin.token_file, or an address of loopback"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            Ok(Some(admin::Bound::Tcp(socket)))
        }
    }
}
