//! The thread that speaks to systemd: there is one only where systemd listens. It may be kept
//! waiting by systemd, and so is nobody else's.

use std::io;

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Systemd;

/// Speaks to systemd until the process ends.
///
/// # Errors
/// When the runtime cannot be made.
pub(super) fn run(systemd: Systemd, stop: CancellationToken) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(systemd.run(stop));
    Ok(())
}
