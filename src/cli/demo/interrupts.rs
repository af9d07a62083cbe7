//! SIGINT and SIGTERM, heard between two lines of output.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::Error;

/// Both signals, from the moment on at which this was made.
pub(super) struct Interrupts {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(super) fn listen() -> Result<Interrupts, Error> {
        let runtime = super::runtime()?;
        let listen = |kind| {
            let _inside = runtime.enter();
            signal(kind).map_err(Error::Start)
        };
        let interrupt = listen(SignalKind::interrupt())?;
        let terminate = listen(SignalKind::terminate())?;
        Ok(Interrupts {
            runtime,
            interrupt,
            terminate,
        })
    }

    /// Waits so long, and says whether a signal came meanwhile.
    pub(super) fn within(&mut self, wait: Duration) -> bool {
        let Interrupts {
            runtime,
            interrupt,
            terminate,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = sleep(wait) => false,
            }
        })
    }
}
