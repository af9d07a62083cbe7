//! The platforms' thread: there is one only where a platform is on.

use std::io;

use tokio::runtime::{Builder, LocalOptions};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Platforms;

/// Speaks to the platforms until the process ends, and tells them so.
///
/// # Errors
/// When the runtime cannot be made.
pub(super) fn run(platforms: Platforms, ending: CancellationToken) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(platforms.run(ending));
    Ok(())
}
