//! `[platform.other]`: a drain begins with a file, and its end runs a command.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Proxy, QUICK, SLOW, eventually};

fn other(drain_file: Option<&Path>, more: &str) -> String {
    let file = drain_file.map(|path| format!("drain_file = {path:?}\npoll = \"50ms\"\n"));
    format!("[platform.other]\n{}{more}", file.unwrap_or_default())
}

#[test]
fn a_drain_begins_with_the_file_and_is_cancelled_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drain");
    let proxy = Proxy::start(&format!("{SLOW}{}", other(Some(&file), "")));
    fs::write(&file, "patch day\nby hand\n").unwrap();
    let begins = proxy.says("drain begins");
    assert_eq!(
        (&begins["trigger"], &begins["reason"]),
        (&"other".into(), &"patch day".into())
    );
    proxy.enters("lame_duck");
    fs::remove_file(&file).unwrap();
    proxy.enters("serving");
    proxy.session();
    // And once more; one that says nothing.
    fs::write(&file, "").unwrap();
    assert_eq!(proxy.says("drain begins")["reason"], "drain file");
}

#[test]
fn the_command_hears_of_the_end_once_and_has_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let (file, heard) = (folder.path().join("drain"), folder.path().join("heard"));
    fs::write(&file, "").unwrap();
    let script = "{ echo $LAMEDUCK_TRIGGER $LAMEDUCK_OUTCOME $LAMEDUCK_CUT $1; cat; } >>$0";
    let more = format!("on_drained = [\"sh\", \"-c\", {script:?}, {heard:?}, \"a b\"]\n");
    let mut proxy = Proxy::start(&format!("{QUICK}{}", other(Some(&file), &more)));
    let ran = proxy.says("on_drained has run");
    assert_eq!(ran["status"], "exit status: 0");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().code(), Some(0));
    let heard = fs::read_to_string(heard).unwrap();
    let (line, report) = heard.split_once('\n').unwrap();
    assert_eq!(line, "other clean 0 a b");
    let report: Value = serde_json::from_str(report).expect("one report");
    assert_eq!(report["trigger"], "other");
}

#[test]
fn the_command_has_its_own_time_even_at_the_end_of_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    // Longer than any other platform is given there.
    let script = "sleep 6; echo $LAMEDUCK_OUTCOME $LAMEDUCK_CUT >$0";
    let more = format!("on_drained = [\"sh\", \"-c\", {script:?}, {heard:?}]\n");
    let drain = QUICK.replace("10s", "1s");
    let mut proxy = Proxy::start(&format!("{drain}{}", other(None, &more)));
    let _held = proxy.session();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().code(), Some(7));
    assert_eq!(fs::read_to_string(heard).unwrap(), "cut 1\n");
}

#[test]
fn a_command_that_fails_or_hangs_is_told_of_and_the_process_goes() {
    let hangs =
        "on_drained = [\"sh\", \"-c\", \"sleep 60 & wait\"]\non_drained_timeout = \"300ms\"\n";
    for (command, error) in [
        ("on_drained = [\"false\"]\n", "exit status: 1"),
        ("on_drained = [\"/nowhere/x\"]\n", "No such file"),
        (hangs, "not over after 300ms, and killed"),
    ] {
        let mut proxy = Proxy::start(&format!("{QUICK}{}", other(None, command)));
        let begun = Instant::now();
        proxy.signal(Signal::TERM);
        let failed = proxy.says("on_drained failed");
        let said = failed["error"].as_str().unwrap();
        assert!(said.contains(error), "{said}");
        assert_eq!(proxy.ended().code(), Some(0));
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn how_the_command_went_is_counted() {
    let proxy = Proxy::start(&format!(
        "{QUICK}{}",
        other(None, "on_drained = [\"false\"]\n")
    ));
    assert_eq!(
        proxy.call("GET", "/v1/status")["platforms"]["other"]["up"],
        true
    );
    proxy.call("POST", "/v1/drain");
    proxy.says("on_drained failed");
    eventually("the count", || {
        let counted = "{platform=\"other\",call=\"on_drained\",result=\"exit\"} 1";
        proxy.metrics().contains(counted).then_some(())
    });
}
