//! The limit on file descriptors, and what it leaves for sessions.

use std::os::unix::net::UnixDatagram;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for what is not a session: listeners, readiness sets, the log, health and
/// admin connections, and one connection each that is being refused.
pub const RESERVED: u64 = 64;

/// Descriptors of one session: the client's socket and the agent's.
const PER_SESSION: u64 = 2;

/// The most descriptors that the kernel is asked to have room for beforehand: half a megabyte of its memory.
const MOST_ROOM: u64 = 1 << 16;

/// How many descriptors the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    limit: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and reads what came of it.
    pub fn raise() -> Descriptors {
        let now = getrlimit(Resource::Nofile);
        // Where raising is forbidden the soft limit stays in force.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: now.maximum,
                maximum: now.maximum,
            },
        );
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Descriptors { limit }
    }

    /// The limit itself.
    pub fn limit(self) -> u64 {
        self.limit
    }

    /// The most client connections for which there are descriptors.
    pub fn connections(self) -> usize {
        let left = self.limit.saturating_sub(RESERVED.min(self.limit / 2));
        usize::try_from(left / PER_SESSION)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Has the kernel's table of descriptors be as large as so many connections need. A table that grows while
    /// there are threads has whoever accepts wait until no other may be reading the old one, which takes some
    /// milliseconds each time; before there are any it is nothing. Without it, nothing but that is lost.
    pub fn make_room(self, connections: usize) {
        let connections = u64::try_from(connections).unwrap_or(u64::MAX);
        let needed = connections
            .saturating_mul(PER_SESSION)
            .saturating_add(RESERVED);
        let room = needed.min(self.limit).min(MOST_ROOM);
        let last = i32::try_from(room.saturating_sub(1)).unwrap_or(i32::MAX);
        if let Ok(any) = UnixDatagram::unbound() {
            // The table reaches up to the highest there has been, and never shrinks.
            drop(fcntl_dupfd_cloexec(&any, last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_not_given_to_sessions() {
        assert_eq!(Descriptors { limit: 1_064 }.connections(), 500);
        assert_eq!(Descriptors { limit: 40 }.connections(), 10);
        assert_eq!(Descriptors { limit: 0 }.connections(), 1);
    }
}
