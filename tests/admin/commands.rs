//! The commands, as people and platforms run them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Proxy, QUICK, ended, eventually, lameduck, signal};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn holds(proxy: &Proxy, count: u64) {
    eventually("so many holds", || {
        (proxy.status()["holds_open"] == count).then_some(())
    });
}

fn stop(child: &mut Child) -> Option<i32> {
    signal(child, Signal::TERM);
    ended(child).code()
}

#[test]
fn drain_waits_and_exits_as_the_proxy_would() {
    let mut proxy = Proxy::start(QUICK);
    let _request = proxy.request();
    let output = proxy.run(&["drain", "--window", "1s", "--reason", "scale-in", "--wait"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let table = out(&output);
    assert!(table.contains(", by api: scale-in\n"), "{table}");
    assert!(table.contains("the request was still under way"), "{table}");
    let report = proxy.call("GET", "/v1/drain/report", "").json();
    assert_eq!(
        (&report["exit_code"], &report["cut"]),
        (&7.into(), &1.into())
    );
    let progress = err(&output);
    assert!(progress.contains("1 session open (http 1)"), "{progress}");
    assert!(!progress.contains('\u{1b}'), "{progress}");
    // Again, as a kubelet does: the same report.
    let again = proxy.run(&["drain", "--window", "1s", "--wait"]);
    assert_eq!(again.status.code(), Some(7), "{again:?}");
    assert_eq!(out(&again), table);
    assert_eq!(stop(&mut proxy.child), Some(7));
}

#[test]
fn drain_hears_the_end_of_a_proxy_that_leaves_with_its_drain() {
    let mut proxy = Proxy::start(QUICK);
    proxy.call("POST", "/v1/holds", r#"{"ttl":"2s","reason":"a"}"#);
    let mut events = proxy.events();
    signal(&proxy.child, Signal::TERM);
    events.wait_for("the drain", |_, data| data["trigger"] == "signal");
    let output = proxy.run(&["drain", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(out(&output).contains(", by signal: SIGTERM"), "{output:?}");
    assert_eq!(ended(&mut proxy.child).code(), Some(0));
}

#[test]
fn drain_says_that_the_proxy_was_lost() {
    let mut proxy = Proxy::start(QUICK);
    let _request = proxy.request();
    let mut wait = proxy.command(&["drain", "--wait"]);
    let mut wait = wait.stderr(Stdio::piped()).spawn().expect("started");
    let mut stderr = BufReader::new(wait.stderr.take().expect("piped"));
    let mut said = String::new();
    // Not before it has heard of it itself.
    while !said.contains("closing") {
        assert_ne!(stderr.read_line(&mut said).expect("a line"), 0, "{said}");
    }
    proxy.child.kill().expect("alive");
    assert_eq!(ended(&mut wait).code(), Some(1));
    stderr.read_to_string(&mut said).expect("text");
    assert!(
        said.contains("the proxy has left while it was closing, with 1 session open"),
        "{said}"
    );
}

#[test]
fn drain_ends_when_it_is_cancelled_and_a_longer_one_is_refused() {
    let proxy = Proxy::start(&QUICK.replace("500ms", "50%").replace("100ms", "8s"));
    let begun = proxy.run(&["drain", "--window", "30s"]);
    assert_eq!(begun.status.code(), Some(0), "{begun:?}");
    assert!(
        err(&begun).starts_with("the drain begins: it is over in 30s"),
        "{begun:?}"
    );
    let longer = proxy.run(&["drain", "--window", "40s", "--wait"]);
    assert_eq!(longer.status.code(), Some(1));
    assert!(err(&longer).contains("can only be shortened"), "{longer:?}");

    let mut wait = proxy.command(&["drain", "--wait"]);
    let mut wait = wait.stderr(Stdio::piped()).spawn().expect("started");
    let mut stderr = BufReader::new(wait.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(line.starts_with("a drain was under way"), "{line}");
    assert!(proxy.run(&["undrain"]).status.success());
    assert_eq!(ended(&mut wait).code(), Some(1));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("the drain was cancelled"), "{rest}");
    let nothing = proxy.run(&["undrain"]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn who_cannot_be_reached_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    for command in [
        &["status"][..],
        &["status", "--watch"],
        &["sessions"],
        &["drain", "--wait"],
        &["undrain"],
        &["hold", "--ttl", "1s", "--reason", "a", "--", "true"],
    ] {
        let output = lameduck(command).env("LAMEDUCK_ADMIN", &address).output();
        let output = output.expect("started");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = err(&output);
        assert!(
            said.starts_with(&format!("error: no proxy answers at {address}: ")),
            "{said}"
        );
    }
}

#[test]
fn status_and_sessions_are_for_people_and_for_machines() {
    let proxy = Proxy::start(QUICK);
    let session = proxy.session();
    let client = session.local_addr().expect("open").to_string();
    let text = out(&proxy.run(&["status"]));
    assert!(text.starts_with("serving\n"), "{text}");
    assert!(text.contains("1 session open"), "{text}");
    let status: Value =
        serde_json::from_str(&out(&proxy.run(&["status", "--json"]))).expect("JSON");
    assert_eq!(status["open"], 1);
    let text = out(&proxy.run(&["sessions"]));
    assert!(text.contains(&client) && text.contains("tcp"), "{text}");
    let lines = out(&proxy.run(&["sessions", "--json", "--sort", "age", "--kind", "tcp"]));
    let listed: Value = serde_json::from_str(&lines).expect("one line of JSON");
    assert_eq!(listed["client"], client);
    assert_eq!(
        out(&proxy.run(&["sessions", "--json", "--kind", "grpc"])),
        ""
    );
}

#[test]
fn status_watches_until_the_proxy_leaves() {
    let mut proxy = Proxy::start(QUICK);
    let mut watch = proxy.command(&["status", "--watch", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("started");
    let mut stdout = BufReader::new(watch.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert!(line.contains("\"serving\""), "{line}");
    assert_eq!(stop(&mut proxy.child), Some(0));
    assert_eq!(ended(&mut watch).code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    let last: Value = serde_json::from_str(rest.lines().last().expect("lines")).expect("JSON");
    assert_eq!(
        (&last["phase"], &last["exit_code"]),
        (&"drained".into(), &0.into())
    );
}

#[test]
fn a_hold_lasts_as_long_as_its_command() {
    let proxy = Proxy::start(QUICK);
    let hold = |command: &[&str]| {
        let args = ["hold", "--ttl", "1s", "--reason", "indexing", "--"];
        let mut hold = proxy.command(&[&args[..], command].concat());
        hold.stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("started")
    };
    let mut reads = hold(&["cat"]);
    holds(&proxy, 1);
    let first = proxy.status()["holds"][0].clone();
    // Prolonged, it outlives its own time.
    let expires = first["expires"].as_f64().expect("a time");
    eventually("it is prolonged", || {
        let status = proxy.status();
        let now = &status["holds"][0];
        assert_eq!(now["id"], first["id"], "the hold has expired");
        (now["expires"].as_f64()? > expires + 1.0).then_some(())
    });
    drop(reads.stdin.take());
    assert_eq!(ended(&mut reads).code(), Some(0));
    holds(&proxy, 0);

    assert_eq!(ended(&mut hold(&["sh", "-c", "exit 5"])).code(), Some(5));
    assert_eq!(ended(&mut hold(&["no-such-command"])).code(), Some(127));
    assert_eq!(proxy.status()["holds_open"], 0);

    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut told = hold(&["cat"]);
        holds(&proxy, 1);
        signal(&told, sent);
        assert_eq!(ended(&mut told).code(), Some(code));
        assert_eq!(proxy.status()["holds_open"], 0);
    }
    // A command that handles the signal is heard out.
    let script = "trap 'kill $!; exit 9' TERM; sleep 60 & echo; wait";
    let args = [
        "hold", "--ttl", "1s", "--reason", "a", "--", "sh", "-c", script,
    ];
    let mut handles = proxy.command(&args);
    let handles = handles.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut handles = handles.spawn().expect("started");
    let mut line = [0];
    let stdout = handles.stdout.as_mut().expect("piped");
    stdout.read_exact(&mut line).expect("the trap is set");
    assert_eq!(stop(&mut handles), Some(9));
}

#[test]
fn packagers_get_completions_and_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = lameduck(&["completions", shell]).output().expect("run");
        assert!(script.status.success());
        assert!(out(&script).contains("undrain"), "{shell}");
    }
    let page = out(&lameduck(&["man"]).output().expect("run"));
    assert!(
        page.contains(".TH lameduck") && page.contains("undrain"),
        "{page}"
    );
    let page = out(&lameduck(&["man", "drain"]).output().expect("run"));
    assert!(page.contains("\\-\\-window"), "{page}");
    let none = lameduck(&["man", "frobnicate"]).output().expect("run");
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn an_admin_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound").to_string();
    let args = ["run", "--upstream", "127.0.0.1:9", "--admin", &address];
    let more = ["--listen", "tcp://127.0.0.1:0", "--health", "127.0.0.1:0"];
    let output = lameduck(&[&args[..], &more].concat())
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(1));
    let said = format!("{}{}", out(&output), err(&output));
    assert!(
        said.contains("admin.bind") && said.contains(&address),
        "{said}"
    );
}
