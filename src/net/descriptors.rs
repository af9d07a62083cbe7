//! The limit on file descriptors, and what it leaves for sessions.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for what is not a session: listeners, readiness sets, the log, health and
/// admin connections, and one connection each that is being refused.
pub const RESERVED: u64 = 64;

/// Descriptors of one session: the client's socket and the agent's.
const PER_SESSION: u64 = 2;

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
