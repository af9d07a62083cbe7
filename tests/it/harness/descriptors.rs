//! File descriptors of the tests' own.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Sockets of a large drill need more descriptors than many shells give.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit can be raised to the hard one");
}
