//! What a platform will cut short: its settings held against a configuration.

pub(super) mod aws;
pub(super) mod ecs;
pub(super) mod kubernetes;
mod targets;
pub(super) mod tls;

use std::time::Duration;

use crate::config::{Config, Finding, Severity};

/// Less than this is over before balancers and clients have taken notice.
const SHORT: Duration = Duration::from_secs(30);

/// Something will be cut short.
fn cut(key: impl Into<String>, what: impl Into<String>, help: impl Into<String>) -> Finding {
    finding(Severity::Error, key.into(), what.into(), help.into())
}

/// Something may be, or costs more than it has to.
fn risky(key: impl Into<String>, what: impl Into<String>, help: impl Into<String>) -> Finding {
    finding(Severity::Warning, key.into(), what.into(), help.into())
}

fn finding(severity: Severity, key: String, what: String, help: String) -> Finding {
    Finding {
        severity,
        key,
        place: None,
        what,
        help,
    }
}

/// What is found if the platform waits for `waits` and no longer.
fn shorter_than_the_window(key: &str, waits: Duration, config: &Config) -> Option<Finding> {
    let window = config.drain.window;
    let waited = secs(waits);
    if window.auto {
        // Then the window is this, or less.
        return (waits < SHORT).then(|| {
            let what =
                format!("{waited} is all that a drain gets: clients have hardly noticed by then");
            risky(
                key,
                what,
                "make it as long as your sessions are worth, such as 300s",
            )
        });
    }
    (waits < window.length).then(|| {
        let window = secs(window.length);
        let what =
            format!("{waited} is shorter than drain.window ({window}): what is open then is cut");
        cut(
            key,
            what,
            format!("make it {window} or more, or drain.window {waited} or less"),
        )
    })
}

/// Whole seconds where they are whole.
fn secs(length: Duration) -> String {
    format!("{}s", length.as_secs_f64())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The configuration of an example.
    pub(in crate::cli::check) fn example(folder: &str) -> Config {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root
            .join("config/examples")
            .join(folder)
            .join("lameduck.toml");
        let loaded = crate::config::load(Some(&file), &crate::config::Overrides::default());
        loaded.expect("the example is good").config
    }

    /// The keys of what was found, each with a letter for how bad it is.
    pub(in crate::cli::check) fn keys(found: &[Finding]) -> Vec<String> {
        let key = |finding: &Finding| {
            assert!(
                !finding.what.is_empty() && !finding.help.is_empty(),
                "{finding}"
            );
            let letter = match finding.severity {
                Severity::Error => 'E',
                Severity::Warning => 'W',
            };
            format!("{letter} {}", finding.key)
        };
        found.iter().map(key).collect()
    }
}
