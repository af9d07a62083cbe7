//! `config/examples`: what an operator copies is right by the word of who reads it.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it found by panicking and printing"
)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The files below `config/examples` with one of these endings.
fn examples(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("config/examples"), &mut found);
    let ends = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str);
        extension.is_some_and(|extension| endings.contains(&extension))
    };
    found.retain(ends);
    found.sort();
    assert!(!found.is_empty(), "no example ends with {endings:?}");
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a program said, if it was not content.
fn content(output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    Err(String::from_utf8_lossy(&said).into_owned())
}

/// The interpreter with `tests/requirements.txt`; where there is none, says that `test` is left out.
fn python(test: &str) -> Option<PathBuf> {
    let made = root().join(".venv/bin/python");
    let python = match std::env::var_os("LAMEDUCK_TEST_PYTHON") {
        Some(named) => named.into(),
        None if made.exists() => made,
        None => {
            eprintln!(
                "LEFT OUT: {test} needs a Python with tests/requirements.txt: neither is \
                 LAMEDUCK_TEST_PYTHON set nor is there .venv/bin/python (`tests/run` makes it)"
            );
            return None;
        }
    };
    Some(python)
}

/// Holds files against a schema of `tests/examples/validate.py`.
fn validate(test: &str, schema: &[&str], files: &[PathBuf]) {
    let Some(python) = python(test) else { return };
    let script = root().join("tests/examples/validate.py");
    let mut command = Command::new(python);
    command.arg(script).args(schema).args(files);
    let output = command.output().expect("Python starts");
    content(&output).expect("the files are right");
}

#[test]
fn every_configuration_passes_check_without_a_warning() {
    for path in examples(&["toml"]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
        let output = command.arg("check").arg(&path).output().expect("started");
        content(&output).expect("good");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.ends_with(", 0 warnings)\n"), "{said}");
    }
}

#[test]
fn every_yaml_and_json_file_is_one() {
    let files = examples(&["yaml", "json"]);
    validate("the parsing of the examples", &["parse"], &files);
}

#[test]
fn cloudformation_finds_nothing_in_the_stack() {
    let Some(python) = python("the stack") else {
        return;
    };
    let stack = root().join("config/examples/aws/stack.yaml");
    let mut command = Command::new(python);
    let run = "import sys, cfnlint.runner; sys.exit(cfnlint.runner.main())";
    command.args(["-c", run, "-t"]);
    let output = command.arg(stack).output().expect("Python starts");
    content(&output).expect("the stack is right");
}

#[test]
fn the_manifests_are_what_kubernetes_takes() {
    let mut files = examples(&["yaml"]);
    files.retain(|path| {
        path.components()
            .any(|part| part.as_os_str() == "kubernetes")
            && path.file_name() != Some(OsStr::new("kustomization.yaml"))
    });
    assert!(files.len() >= 4, "{files:?}");
    validate("the manifests", &["kubernetes"], &files);
}

#[test]
fn kustomize_knows_every_manifest_and_no_other() {
    let folder = root().join("config/examples/kubernetes");
    let list = text(&folder.join("kustomization.yaml"));
    for path in examples(&["yaml"]) {
        let name = path.file_name().and_then(OsStr::to_str).expect("a name");
        if path.starts_with(&folder) && name != "kustomization.yaml" {
            assert!(list.contains(name), "{name} is not in {list}");
        }
    }
}

#[test]
fn ecs_takes_the_task_and_the_service() {
    let of = |name: &str| [root().join("config/examples/ecs").join(name)];
    let task = of("task-definition.json");
    validate(
        "the task definition",
        &["ecs", "RegisterTaskDefinition"],
        &task,
    );
    let service = of("service.json");
    validate("the service", &["ecs", "CreateService"], &service);
    let policy = of("task-role-policy.json");
    validate("the task role's policy", &["policy"], &policy);
}

#[test]
fn compose_takes_its_file() {
    let Some(python) = python("the compose file") else {
        return;
    };
    let file = root().join("config/examples/compose/compose.yaml");
    let mut command = Command::new(python);
    command.args([
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
    ]);
    let output = command.arg(file).output().expect("Python starts");
    content(&output).expect("the compose file is right");
}

#[test]
fn systemd_finds_nothing_in_the_units() {
    let present = Command::new("systemd-analyze").arg("--version").output();
    if !present.is_ok_and(|output| output.status.success()) {
        eprintln!("LEFT OUT: the units need systemd-analyze (Debian: apt-get install systemd)");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]);
    for path in examples(&["service", "socket"]) {
        // The programs are not installed here, and systemd looks for them.
        let unit = text(&path).replace("ExecStart=/usr/local/bin/", "ExecStart=/bin/true ");
        let copy = folder.path().join(path.file_name().expect("a name"));
        fs::write(&copy, unit).expect("written");
        command.arg(copy);
    }
    let output = command.output().expect("started");
    content(&output).expect("the units are right");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !said.contains("lameduck") && !said.contains("agent"),
        "{said}"
    );
}

/// The first whole number behind `key`.
fn number(text: &str, key: &str) -> u64 {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let behind = lines
        .filter_map(|line| line.split_once(key))
        .map(|(_, behind)| behind);
    let found = behind.filter_map(|behind| {
        let digits = behind.trim_start_matches([' ', ':', '=', '"']);
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        digits[..end].parse().ok()
    });
    found
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("no number behind {key} in {text}"))
}

#[test]
fn every_window_ends_before_its_platform_does() {
    for (folder, file, key) in [
        ("ecs", "task-definition.json", "\"stopTimeout\": 120"),
        (
            "kubernetes",
            "deployment.yaml",
            "terminationGracePeriodSeconds",
        ),
        ("systemd", "lameduck.service", "TimeoutStopSec"),
        ("compose", "compose.yaml", "stop_grace_period: 70s"),
    ] {
        let folder = root().join("config/examples").join(folder);
        let window = number(&text(&folder.join("lameduck.toml")), "window");
        let file = text(&folder.join(file));
        let waited = match key.rsplit_once(": ") {
            // One of several in the file: the longest is the proxy's.
            Some((_, value)) if file.contains(key) => number(value, ""),
            _ => number(&file, key),
        };
        assert!(
            (window + 10..window + 60).contains(&waited),
            "{key}: {waited}, {window}"
        );
    }
}
