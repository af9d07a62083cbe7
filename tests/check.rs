//! The binary as a person meets it: exit codes, and what goes to which stream.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

/// Runs the binary with nothing of ours in its environment but what is given.
fn lameduck(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("LAMEDUCK_")) {
        command.env_remove(name);
    }
    command
        .args(args)
        .envs(environment.iter().copied())
        .output()
        .expect("started")
}

/// The exit code, stdout and stderr.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

const LEAST: &str = "[[listener]]\nname = \"chat\"\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\n\
                     upstream = \"agent\"\n[upstream.agent]\nendpoints = [\"127.0.0.1:9\"]\n";

#[test]
fn the_reference_file_passes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/lameduck.toml");
    let (code, out, err) = said(&lameduck(&["check", path], &[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        format!("{path}: good (1 listener, 1 upstream, 0 warnings)\n")
    );
}

#[test]
fn faults_exit_with_two_and_go_to_stderr() {
    let file = file(&format!("{LEAST}[drain]\nwindow = 30\nmarign = \"1s\"\n"));
    let path = file.path().to_str().expect("text");
    let (code, out, err) = said(&lameduck(&["check", path], &[]));
    assert_eq!(code, Some(2));
    assert_eq!(out, format!("{path}: refused (2 errors, 0 warnings)\n"));
    assert_eq!(
        err,
        format!(
            "{path}:9:10: error: drain.window: `30` has no unit\n    window = 30\n             ^^\n    \
             help: write the unit too, in quotes: \"30s\"\n\
             {path}:10:1: error: drain.marign: is not a known key\n    marign = \"1s\"\n    ^^^^^^\n    \
             help: did you mean `margin`\n"
        )
    );
}

#[test]
fn a_warning_is_told_and_passes() {
    let file = file(&format!("{LEAST}[drain]\nwindow = \"2h\"\n"));
    let path = file.path().to_str().expect("text");
    let (code, out, err) = said(&lameduck(&["check", path], &[]));
    assert_eq!(code, Some(0));
    assert!(
        out.ends_with("good (1 listener, 1 upstream, 1 warning)\n"),
        "{out}"
    );
    assert!(
        err.contains(":9:10: warning: drain.window: no target group waits"),
        "{err}"
    );
}

#[test]
fn check_looks_at_the_file_alone() {
    let file = file(LEAST);
    let path = file.path().to_str().expect("text");
    let (code, ..) = said(&lameduck(
        &["check", path],
        &[("LAMEDUCK_WINDOW", "nonsense")],
    ));
    assert_eq!(code, Some(0));
}

#[test]
fn run_does_not_start_with_what_check_refuses() {
    let file = file(&format!("{LEAST}[log]\nformat = \"xml\"\n"));
    let path = file.path().to_str().expect("text");
    let by_flag = said(&lameduck(&["run", "-c", path], &[]));
    assert_eq!(by_flag.0, Some(2));
    assert!(
        by_flag
            .2
            .contains(":9:10: error: log.format: `xml` is not known"),
        "{}",
        by_flag.2
    );
    let by_variable = said(&lameduck(&["run"], &[("LAMEDUCK_CONFIG", path)]));
    assert_eq!(by_variable, by_flag);
}

#[test]
fn run_without_an_upstream_says_how_to_give_one() {
    let (code, out, err) = said(&lameduck(&["run"], &[]));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        err.contains("it is not said where the agent listens"),
        "{err}"
    );
    assert!(err.contains("--upstream 127.0.0.1:9000"), "{err}");
}

#[test]
fn a_flag_goes_over_its_variable_and_both_are_checked() {
    // The address of the variable would do; that of the flag is what counts.
    let environment = [
        ("LAMEDUCK_UPSTREAM", "127.0.0.1:9"),
        ("LAMEDUCK_HEALTH", "127.0.0.1:0"),
    ];
    let (code, _, err) = said(&lameduck(
        &["run", "--health", "0.0.0.0:8080"],
        &environment,
    ));
    assert_eq!(code, Some(2));
    assert!(
        err.contains("error: --health: `0.0.0.0:8080` is taken"),
        "{err}"
    );

    let listen = [("LAMEDUCK_LISTEN", "http://127.0.0.1:0,udp://127.0.0.1:0")];
    let (code, _, err) = said(&lameduck(&["run", "--upstream", "127.0.0.1:9"], &listen));
    assert_eq!(code, Some(2));
    assert!(err.contains("`udp` is not known here"), "{err}");
}

#[test]
fn wrong_usage_exits_with_two() {
    for args in [
        &["run", "--admin", "0.0.0.0:1"][..],
        &["check"],
        &["frobnicate"],
        &[],
    ] {
        let (code, _, err) = said(&lameduck(args, &[]));
        assert_eq!(code, Some(2), "{args:?}: {err}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, err) = said(&lameduck(&["check", "no/such.toml"], &[]));
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("error: cannot read `no/such.toml`: "),
        "{err}"
    );
}

#[test]
fn healthcheck_exits_by_the_answer() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            1,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}/livez", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).expect("sent");
        });
        let (code, out, err) = said(&lameduck(&["healthcheck", "--url", &url], &[]));
        server.join().expect("served");
        assert_eq!(code, Some(expected), "{err}");
        assert_eq!(out, "");
    }
    // Nobody listens on a port that was just given back.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/livez", listener.local_addr().expect("bound"));
    drop(listener);
    let (code, _, err) = said(&lameduck(&["healthcheck", "--url", &url], &[]));
    assert_eq!(code, Some(1));
    assert!(err.contains("does not answer"), "{err}");
}

#[test]
fn a_hook_that_nobody_could_call_is_refused_with_its_place() {
    let file = file(&format!(
        "{LEAST}[drain.hooks]\nclosing = \"127.0.0.1:9000\"\n"
    ));
    let path = file.path().to_str().expect("text");
    let (code, _, err) = said(&lameduck(&["check", path], &[]));
    assert_eq!(code, Some(2));
    assert_eq!(
        err,
        format!(
            "{path}:9:11: error: drain.hooks.closing: `127.0.0.1:9000` is not the URL of a hook\n    \
             closing = \"127.0.0.1:9000\"\n              ^^^^^^^^^^^^^^^^\n    \
             help: write http://HOST:PORT/path, such as \"http://127.0.0.1:9000/lameduck\"\n"
        )
    );
}
