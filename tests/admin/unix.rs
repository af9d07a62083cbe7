//! The control API by a unix socket, for its owner alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::harness::{Proxy, QUICK, ended, lameduck, signal};

fn start(path: &Path) -> Proxy {
    let path = path.display();
    Proxy::start(&format!("{QUICK}[admin]\nbind = \"unix:{path}\"\n"))
}

fn curl(path: &Path, args: &[&str]) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-w", "\n%{http_code}", "--unix-socket"]);
    let output = command.arg(path).args(args).output().expect("curl");
    let text = out(&output);
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_takes_the_commands_and_curl() {
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("admin.sock");
    let mut proxy = start(&path);
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let url = format!("unix:{}", path.display());
    let by_flag = lameduck(&["status", "--json", "--admin", &url]);
    let mut by_variable = lameduck(&["status", "--json"]);
    by_variable.env("LAMEDUCK_ADMIN", &url);
    for mut command in [by_flag, by_variable] {
        let output = command.output().expect("run");
        assert!(output.status.success(), "{output:?}");
        assert!(out(&output).contains("\"phase\":\"serving\""), "{output:?}");
    }

    let status = "http://localhost/v1/status";
    assert_eq!(curl(&path, &[status]).0, "200");
    let post = ["-X", "POST", "http://localhost/v1/drain"];
    for field in [
        "Host: evil.example",
        "Origin: http://localhost",
        "Origin: null",
    ] {
        let (refused, problem) = curl(&path, &[&post[..], &["-H", field]].concat());
        let expected = if field.starts_with("Host") {
            "421"
        } else {
            "403"
        };
        assert_eq!(refused, expected, "{field}: {problem}");
    }
    assert!(curl(&path, &[status]).1.contains("\"phase\":\"serving\""));

    let waits = lameduck(&["drain", "--wait", "--admin", &url]).output();
    assert_eq!(waits.expect("run").status.code(), Some(0));
    signal(&proxy.child, Signal::TERM);
    assert!(ended(&mut proxy.child).success());
    assert!(!path.exists(), "the file goes with the process");
    let none = lameduck(&["status", "--admin", &url])
        .output()
        .expect("run");
    assert_eq!(none.status.code(), Some(1));
    let err = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(err.contains(&format!("no proxy answers at {url}")), "{err}");
}

#[test]
fn a_file_left_behind_is_replaced_and_one_in_use_is_not() {
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("admin.sock");
    let mut first = start(&path);
    first.child.kill().expect("killed");
    ended(&mut first.child);
    assert!(path.exists(), "who is killed cannot tidy up");
    let _second = start(&path);
    assert_eq!(curl(&path, &["http://localhost/v1/status"]).0, "200");

    let url = format!("unix:{}", path.display());
    let args = ["run", "--upstream", "127.0.0.1:9", "--admin", &url];
    let more = ["--listen", "tcp://127.0.0.1:0", "--health", "127.0.0.1:0"];
    let third = lameduck(&[&args[..], &more].concat())
        .output()
        .expect("run");
    assert_eq!(third.status.code(), Some(1));
    let said = format!("{}{}", out(&third), String::from_utf8_lossy(&third.stderr));
    assert!(
        said.contains("admin.bind") && said.contains("in use"),
        "{said}"
    );
    assert_eq!(curl(&path, &["http://localhost/v1/status"]).0, "200");
}
