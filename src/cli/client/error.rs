//! Why a command could not be carried out.

use std::io;

use http::StatusCode;

use super::wire::{Address, Broken};

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The flags do not lead to a proxy.
    #[error("{what} (help: {help})")]
    Usage { what: String, help: String },
    /// Nobody answers, or not as HTTP.
    #[error(
        "no proxy answers at {address}: {broken} (help: is it running, and is this its [admin] \
         bind; --admin or LAMEDUCK_ADMIN names another)"
    )]
    Unreachable { address: Address, broken: Broken },
    /// The proxy says no.
    #[error("the proxy refuses: {}", .detail.as_deref().unwrap_or(.status.as_str()))]
    Refused {
        status: StatusCode,
        detail: Option<String>,
    },
    /// What answers is not this program, or another version of it.
    #[error("the answer is not one of a lameduck proxy: {0}")]
    Strange(String),
    /// Something of this process.
    #[error("{what}: {source}")]
    Own {
        what: &'static str,
        source: io::Error,
    },
    /// A connection's, before it is known where to.
    #[error("{0}")]
    Broken(#[from] Broken),
}

impl Error {
    /// The same, with the address in it.
    pub(super) fn at(self, address: &Address) -> Error {
        match self {
            Error::Broken(broken) => Error::Unreachable {
                address: address.clone(),
                broken,
            },
            other => other,
        }
    }

    /// Whether the proxy is not there, or no more.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Error::Unreachable { .. })
    }

    /// Whether somebody reads no more of what we write.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Own { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the proxy answered with this.
    pub(crate) fn is_refusal(&self, wanted: StatusCode) -> bool {
        matches!(self, Error::Refused { status, .. } if *status == wanted)
    }
}
