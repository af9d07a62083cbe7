//! `lameduck check`: what is wrong with a configuration file, and what would be right; and what the
//! platform will cut short.

mod rules;

use std::time::SystemTime;

use tokio::runtime::Builder;

use super::args::CheckArgs;
use super::exit;
use crate::config::{self, Config, Finding, Overrides, PlatformName, Severity};
use crate::lifecycle::settings::{self, Said};

/// Reads the file alone, without the environment, so that the answer is the same everywhere. The
/// platforms that are asked are found by the environment, as the proxy finds them.
pub(super) fn check(args: &CheckArgs) -> u8 {
    let file = args.file.display();
    let overrides = Overrides {
        platforms: args.platform.clone(),
        ..Overrides::default()
    };
    match config::load(Some(&args.file), &overrides) {
        Ok(loaded) => {
            let mut found = loaded.warnings;
            found.extend(rules::tls::findings(&loaded.config, SystemTime::now()));
            for &platform in &args.platform {
                match compare(platform, &loaded.config) {
                    Ok(more) => found.extend(more),
                    Err(story) => {
                        eprintln!("error: {platform} cannot be asked how it is set: {story}");
                        return exit::FAILED;
                    }
                }
            }
            told(&found);
            match errors(&found) {
                0 => {
                    let summary = summary(&loaded.config, found.len());
                    println!("{file}: good ({summary})");
                    exit::OK
                }
                errors => {
                    refused(&args.file.display().to_string(), errors, found.len());
                    exit::USAGE
                }
            }
        }
        Err(faults) => {
            eprintln!("{faults}");
            refused(&file.to_string(), faults.errors(), faults.findings().len());
            exit::USAGE
        }
    }
}

/// The platforms that can be compared.
pub(super) fn platform(text: &str) -> Result<PlatformName, config::Wrong> {
    let name = match text {
        "k8s" => PlatformName::Kubernetes,
        other => other.parse()?,
    };
    match name {
        PlatformName::Aws | PlatformName::Ecs | PlatformName::Kubernetes => Ok(name),
        PlatformName::Azure | PlatformName::Gcp | PlatformName::Other => Err(config::Wrong {
            what: format!("`{name}` has no settings that could be compared"),
            help: "write aws, ecs or k8s".to_owned(),
        }),
    }
}

/// Asks a platform how it is set, and holds that against the configuration.
fn compare(platform: PlatformName, config: &Config) -> Result<Vec<Finding>, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime: {error}"))?;
    Ok(match runtime.block_on(settings::ask(platform, config))? {
        Said::Machine(machine) => rules::aws::findings(&machine, config),
        Said::Task { task, own, targets } => rules::ecs::findings(&task, &own, &targets, config),
        Said::Pod(pod) => rules::kubernetes::findings(&pod, config),
    })
}

fn told(findings: &[Finding]) {
    for finding in findings {
        eprintln!("{finding}");
    }
}

fn errors(findings: &[Finding]) -> usize {
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors.count()
}

fn refused(file: &str, errors: usize, all: usize) {
    let (errors, warnings) = (counted(errors, "error"), counted(all - errors, "warning"));
    println!("{file}: refused ({errors}, {warnings})");
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
