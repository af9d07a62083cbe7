//! Why the proxy could not start.

use std::io;

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address could not be bound; the error of the system names it.
    #[error("{key}: {source}")]
    Bind {
        /// The key of the configuration, such as `listener chat` or `health.bind`.
        key: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file that a `tls` table names is no good.
    #[error("{of}: tls.{what}")]
    Tls {
        /// Whose table it is, such as `listener chat`.
        of: String,
        /// The key, the file, and what is wrong.
        what: String,
    },
    /// Something of the process itself could not be made.
    #[error("cannot start: {what}: {source}")]
    Start {
        /// What.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}
