//! `lameduck check`: what is wrong with a configuration file, and what would be right.

mod rules;

use super::args::CheckArgs;
use super::exit;
use crate::config::{self, Config, Overrides};

/// Reads the file alone, without the environment, so that the answer is the same everywhere.
pub(super) fn check(args: &CheckArgs) -> u8 {
    let file = args.file.display();
    match config::load(Some(&args.file), &Overrides::default()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            println!(
                "{file}: good ({})",
                summary(&loaded.config, loaded.warnings.len())
            );
            exit::OK
        }
        Err(faults) => {
            eprintln!("{faults}");
            let warnings = faults.findings().len() - faults.errors();
            let errors = counted(faults.errors(), "error");
            println!(
                "{file}: refused ({errors}, {})",
                counted(warnings, "warning")
            );
            exit::USAGE
        }
    }
}

fn summary(config: &Config, warnings: usize) -> String {
    format!(
        "{}, {}, {}",
        counted(config.listeners.len(), "listener"),
        counted(config.upstreams.len(), "upstream"),
        counted(warnings, "warning"),
    )
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
