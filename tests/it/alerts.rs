//! The Prometheus rules in `config/prometheus/`, checked and tried by Prometheus's own tool.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus")
}

/// Runs `promtool`, which must be content; where there is none, says that `test` is left out.
fn promtool(test: &str, words: [&str; 2], files: &[PathBuf]) {
    let output = Command::new("promtool").args(words).args(files).output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!(
                "LEFT OUT: {test} needs promtool (Debian's package prometheus; `tests/run` \
                 installs it)"
            );
            return;
        }
        output => output.expect("promtool can be run"),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {words:?}:\n{said}");
    assert!(said.contains("SUCCESS"), "promtool {words:?}:\n{said}");
}

#[test]
fn the_rules_are_valid() {
    let file = rules().join("rules.yml");
    promtool("the check of the rules", ["check", "rules"], &[file]);
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let files = std::fs::read_dir(rules()).expect("the folder of the rules");
    let files = files.map(|entry| entry.expect("an entry").path());
    let tests: Vec<PathBuf> = files
        .filter(|path| path.to_string_lossy().ends_with("_test.yml"))
        .collect();
    assert!(!tests.is_empty(), "no tests of the rules");
    promtool("the test of the alerts", ["test", "rules"], &tests);
}
