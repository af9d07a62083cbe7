//! Values from the text of a flag, by the rules of the file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::types::{Bind, Endpoint, LogFormat, Window};
use super::value::{self, Wrong};

/// A window: `auto`, or a duration that is not zero, such as `30s`.
///
/// # Errors
/// What is wrong with the text, and what would be right; so for all of these.
pub fn window(text: &str) -> Result<Window, Wrong> {
    value::parse_window(text)
}

/// A duration that is not zero, such as `30s`.
///
/// # Errors
/// As above.
pub fn positive_duration(text: &str) -> Result<Duration, Wrong> {
    value::parse_positive_duration(text)
}

/// A share such as `25%`; from 0.0 to 1.0.
///
/// # Errors
/// As above.
pub fn share(text: &str) -> Result<f64, Wrong> {
    value::parse_share(text)
}

/// Where an agent listens, as `host:port`.
///
/// # Errors
/// As above.
pub fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    value::parse_endpoint(text)
}

/// An address to bind, such as `0.0.0.0:9180`.
///
/// # Errors
/// As above.
pub fn bind(text: &str) -> Result<SocketAddr, Wrong> {
    value::parse_socket_address(text)
}

/// Where to bind the control API, or the URL that clients call it by: both stand in the same
/// variable.
///
/// # Errors
/// As above.
pub fn admin(text: &str) -> Result<Bind, Wrong> {
    if text.starts_with("unix:") {
        return value::parse_bind(text);
    }
    let address = text.strip_prefix("http://").unwrap_or(text);
    bind(address.strip_suffix('/').unwrap_or(address)).map(Bind::Tcp)
}

/// How many workers.
///
/// # Errors
/// As above.
pub fn workers(text: &str) -> Result<NonZeroUsize, Wrong> {
    value::parse_workers(text)
}

/// `text` or `json`.
///
/// # Errors
/// As above.
pub fn log_format(text: &str) -> Result<LogFormat, Wrong> {
    value::parse_word(text)
}
