//! `lameduck run`: a configuration, or every reason against it; then the proxy.

use super::args::RunArgs;
use super::exit;
use crate::app;
use crate::config;

/// Runs the proxy until it is drained. The exit code is the proxy's, or [`exit::USAGE`] if the
/// configuration keeps it from starting.
pub(super) fn run(args: RunArgs) -> u8 {
    let (file, overrides) = args.split();
    match config::load(file.as_deref(), &overrides) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            let again = move || config::load(file.as_deref(), &overrides);
            app::run(loaded.config, Box::new(again))
        }
        Err(faults) => {
            eprintln!("{faults}");
            exit::USAGE
        }
    }
}
