//! Flags and the environment over the file, and without one.

use std::time::Duration;

use super::{LEAST, token, with};
use crate::config::load::{Loaded, parse};
use crate::config::{Config, Faults, ListenUrl, Overrides, Protocol, Window, flag};

fn over(text: &str, overrides: &Overrides) -> Result<Loaded, Faults> {
    parse(Some("x.toml".into()), text, overrides, token)
}

fn urls(texts: &[&str]) -> Vec<ListenUrl> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

fn upstream() -> Overrides {
    let endpoint = flag::endpoint("agent:1").expect("legal");
    Overrides {
        upstream: Some(endpoint),
        ..Overrides::default()
    }
}

fn names(config: &Config) -> Vec<String> {
    config
        .listeners
        .iter()
        .map(|listener| listener.name.to_string())
        .collect()
}

#[test]
fn without_a_file_an_upstream_is_enough() {
    let config = parse(None, "", &upstream(), token).expect("legal").config;
    let [listener] = config.listeners.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(listener.name.to_string(), "http-8080");
    assert_eq!(listener.bind.to_string(), "0.0.0.0:8080");
    assert_eq!(listener.protocol, Protocol::Http);
    assert_eq!(listener.upstream.to_string(), "agent");
    let [upstream] = config.upstreams.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(upstream.name.to_string(), "agent");
    assert_eq!(upstream.endpoints[0].to_string(), "agent:1");
    assert_eq!(upstream.connect_timeout, Duration::from_secs(5));
}

#[test]
fn without_a_file_and_an_upstream_it_is_said_how_to_give_one() {
    let faults = parse(None, "", &Overrides::default(), token).expect_err("no agent");
    assert_eq!(
        faults.to_string(),
        "error: it is not said where the agent listens\n    help: give --upstream 127.0.0.1:9000 \
         (or LAMEDUCK_UPSTREAM), or a file with -c"
    );
}

#[test]
fn listeners_by_flag_get_names_of_their_own() {
    let listen = urls(&[
        "http://127.0.0.1:8080",
        "tcp://127.0.0.1:8081",
        "http://127.0.0.2:8080",
        "http://127.0.0.3:8080",
        "tcp://127.0.0.4:8080",
    ]);
    let config = parse(
        None,
        "",
        &Overrides {
            listen,
            ..upstream()
        },
        token,
    )
    .expect("legal")
    .config;
    assert_eq!(
        names(&config),
        [
            "http-8080",
            "tcp-8081",
            "http-8080-2",
            "http-8080-3",
            "tcp-8080"
        ]
    );
}

#[test]
fn flags_go_over_the_file() {
    let text =
        with("[http]\nvia = \"a\"\n[drain]\nwindow = \"60s\"\nwebsocket_close_code = 1001\n");
    let overrides = Overrides {
        listen: urls(&["http://0.0.0.0:1"]),
        window: Some(Window::of(Duration::from_secs(30))),
        health: Some(flag::bind("0.0.0.0:2").expect("legal")),
        admin: Some(flag::admin("http://127.0.0.1:3/").expect("legal")),
        workers: Some(flag::workers("7").expect("legal")),
        log_format: Some(flag::log_format("json").expect("legal")),
        ..upstream()
    };
    let config = over(&text, &overrides).expect("legal").config;
    assert_eq!(names(&config), ["http-1"]);
    // What the flag does not say is the file's.
    assert_eq!(config.listeners[0].http.via.as_deref(), Some("a"));
    assert_eq!(config.listeners[0].goodbye.close_code, 1001);
    assert_eq!(config.upstreams[0].endpoints[0].to_string(), "agent:1");
    assert_eq!(config.drain.window.length, Duration::from_secs(30));
    assert_eq!(config.health.bind.port(), 2);
    assert_eq!(config.admin.bind.to_string(), "127.0.0.1:3");
    assert_eq!(config.workers.get(), 7);
    assert_eq!(config.log.format, crate::config::LogFormat::Json);
}

#[test]
fn flags_complete_a_file_that_has_only_the_rest() {
    let overrides = Overrides {
        listen: urls(&["tcp://0.0.0.0:1"]),
        ..upstream()
    };
    let config = over("[drain]\nwindow = \"60s\"\n", &overrides)
        .expect("legal")
        .config;
    assert_eq!(names(&config), ["tcp-1"]);
    assert_eq!(config.drain.window.length, Duration::from_secs(60));
}

#[test]
fn several_upstreams_leave_flags_without_a_meaning() {
    let text = with("[upstream.b]\nendpoints = [\"b:1\"]\n");
    let faults = over(&text, &upstream()).expect_err("ambiguous");
    assert!(
        faults.to_string().starts_with(
            "error: --upstream: the file has 2 upstreams, and the flag does not say which it is for"
        ),
        "{faults}"
    );
    let listen = Overrides {
        listen: urls(&["tcp://0.0.0.0:1"]),
        ..Overrides::default()
    };
    let faults = over(&text, &listen).expect_err("ambiguous");
    assert!(
        faults
            .to_string()
            .contains("--listen: the file has 2 upstreams"),
        "{faults}"
    );
    assert_eq!(faults.findings().len(), 1, "{faults}");
}

#[test]
fn what_a_flag_breaks_is_told_at_the_flag() {
    let window = Overrides {
        window: Some(Window::of(Duration::from_secs(1))),
        ..Overrides::default()
    };
    over(LEAST, &window).expect("the default margin gives way");
    let file = format!("{LEAST}[drain]\nmargin = \"2s\"\n");
    let shown = over(&file, &window).expect_err("too short").to_string();
    assert!(
        shown.contains("the margin of 2s leaves nothing of the window of 1s"),
        "{shown}"
    );
    let health = flag::bind("0.0.0.0:8080").expect("legal");
    let faults = over(
        LEAST,
        &Overrides {
            health: Some(health),
            ..Overrides::default()
        },
    )
    .expect_err("taken");
    assert!(
        faults
            .to_string()
            .starts_with("error: --health: `0.0.0.0:8080` is taken: listener[0].bind"),
        "{faults}"
    );
}
