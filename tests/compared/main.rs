//! `lameduck check --platform`: what a platform says is held against a configuration.

#![allow(
    clippy::print_stderr,
    reason = "a test says what is left out by printing"
)]

mod aws;
mod ecs;
mod kubernetes;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The exit code, stdout and stderr of `check --platform`, with an example's configuration and lines
/// at its end.
fn checked(
    platform: &str,
    example: &str,
    lines: &str,
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let shipped = root().join("config/examples").join(example);
    let shipped = std::fs::read_to_string(shipped.join("lameduck.toml")).expect("text");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lameduck.toml");
    std::fs::write(&file, format!("{shipped}\n{lines}\n")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
    command
        .arg("check")
        .arg(&file)
        .args(["--platform", platform]);
    // Whatever is set where the tests run is not meant.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || name.starts_with("ECS_") {
            command.env_remove(name);
        }
    }
    let variables = variables.iter().copied();
    let output = command.envs(variables).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let out = text(&output.stdout).replace(&file.display().to_string(), "FILE");
    (output.status.code(), out, text(&output.stderr))
}

/// The variables with which AWS is called at this URL.
fn credentials(url: &str) -> [(&'static str, &str); 5] {
    [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", url),
    ]
}

/// The documents of an example in YAML; nothing, and said, where no Python can read it.
fn documents(example: &str) -> Option<Value> {
    let made = root().join(".venv/bin/python");
    let named = std::env::var_os("LAMEDUCK_TEST_PYTHON").map(PathBuf::from);
    let Some(python) = named.or_else(|| made.exists().then_some(made)) else {
        eprintln!("LEFT OUT: {example} needs a Python that reads YAML (`tests/run` makes it)");
        return None;
    };
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/examples/validate.py"))
        .arg("json");
    let output = command
        .arg(root().join("config/examples").join(example))
        .output();
    let documents = output.expect("Python starts").stdout;
    Some(serde_json::from_slice(&documents).expect("JSON"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_platform_without_settings_is_wrong_usage() {
    let file = root().join("config/lameduck.toml");
    for (name, help) in [("azure", "write aws, ecs or k8s"), ("k9s", "k9s")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
        command.arg("check").arg(&file).args(["--platform", name]);
        let output = command.output().expect("started");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(help), "{err}");
    }
}
