//! Results, on stdout. Whoever reads them may stop reading, as `head` does: that is no panic.

use std::io::{self, Write as _};

use super::client::Error;

/// Writes a line.
///
/// # Errors
/// When stdout takes no more.
pub(super) fn line(text: &str) -> Result<(), Error> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes lines.
///
/// # Errors
/// When stdout takes no more.
pub(super) fn lines(lines: &[String]) -> Result<(), Error> {
    lines.iter().try_for_each(|text| line(text))
}

/// Writes bytes as they are.
///
/// # Errors
/// When stdout takes no more.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|source| Error::Own {
            what: "stdout",
            source,
        })
}
