//! The log: for people or for machines, on stderr.

use std::io::{IsTerminal as _, Write as _};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::drain;
use crate::lifecycle::emf;

/// Installs the log; `RUST_LOG` chooses what is in it. Where one is installed already, it stays.
pub(super) fn install(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // A test or an embedding program may have its own.
    drop(installed);
}

/// What writes a line for CloudWatch when a drain is over, where one is wanted: bare, since what the
/// log puts around its lines would hide it.
pub(super) fn metrics(log: &Log) -> Option<drain::Heard> {
    let namespace = log.emf.clone()?;
    Some(Box::new(move |report| {
        let line = emf::line(&namespace, report) + "\n";
        // A log that cannot be written has nobody to be told so.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }))
}
