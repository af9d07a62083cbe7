//! Whole files through the front door.

mod faults;
mod overridden;
mod reference;
mod upstream;
mod warned;

use std::path::Path;

use super::load::{Loaded, parse};
use super::{Faults, Overrides, Severity, Token, Wrong};

/// The least that runs; other tables are appended to it.
const LEAST: &str = "\
[[listener]]
name = \"chat\"
bind = \"0.0.0.0:8080\"
protocol = \"http\"
upstream = \"agent\"
[upstream.agent]
endpoints = [\"127.0.0.1:9000\"]
";

/// Stands in for the file that a token is in.
fn token(_: &Path) -> Result<Token, Wrong> {
    Ok(Token::new("secret").expect("legal"))
}

fn file(text: &str) -> Result<Loaded, Faults> {
    parse(Some("x.toml".into()), text, &Overrides::default(), token)
}

/// What was found, a line each: place, severity, key and what.
fn told(text: &str) -> Vec<String> {
    let findings = match file(text) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults.findings().to_vec(),
    };
    findings
        .iter()
        .map(|finding| {
            finding
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

fn with(tables: &str) -> String {
    format!("{LEAST}{tables}")
}

#[test]
fn the_least_gets_the_defaults() {
    let Loaded { config, warnings } = file(LEAST).expect("legal");
    assert_eq!(warnings, []);
    let cores = std::thread::available_parallelism().expect("known");
    assert_eq!(config.workers, cores);
    let listener = &config.listeners[0];
    assert_eq!(listener.name.to_string(), "chat");
    assert_eq!(listener.goodbye.close_code, 1012);
    assert_eq!(listener.goodbye.close_patience, None);
    assert_eq!(listener.goodbye.announcement, None);
    assert_eq!(listener.goodbye.announce_ahead.as_secs(), 5);
    assert_eq!(listener.http.max_header_bytes, 65536);
    assert_eq!(listener.http.via, None);
    assert_eq!(config.upstreams[0].idle_timeout.as_secs(), 4);
    assert_eq!(config.drain.window.length.as_secs(), 300);
    assert_eq!(config.limits.max_connections, None);
    assert_eq!(config.health.bind.to_string(), "0.0.0.0:9180");
    assert_eq!(config.admin.bind.to_string(), "127.0.0.1:9181");
}

#[test]
fn a_listener_has_its_own_over_the_general() {
    let text =
        with("[http]\nvia = \"a\"\nmax_headers = 50\n[drain]\nwebsocket_close_code = 1001\n")
            + "[[listener]]\nname = \"b\"\nbind = \"[::]:1\"\nprotocol = \"http\"\n\
           upstream = \"agent\"\nwebsocket_close_code = 3000\n[listener.http]\nvia = \"b\"\n";
    let config = file(&text).expect("legal").config;
    let [first, second] = config.listeners.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(first.http.via.as_deref(), Some("a"));
    assert_eq!(first.goodbye.close_code, 1001);
    assert_eq!(second.http.via.as_deref(), Some("b"));
    assert_eq!(second.http.max_headers, 50);
    assert_eq!(second.goodbye.close_code, 3000);
}

#[test]
fn each_listener_may_have_a_peer_of_its_own() {
    let text = with("[drain]\nlate_arrivals = \"forward\"\nforward_to = \"peer:8080\"\n")
        + "[[listener]]\nname = \"b\"\nbind = \"[::]:1\"\nprotocol = \"tcp\"\n\
           upstream = \"agent\"\nforward_to = \"peer:1\"\n";
    let peers = |text: &str| {
        let Loaded { config, warnings } = file(text).expect("legal");
        assert!(
            warnings
                .iter()
                .all(|warning| warning.key.ends_with("forward_to"))
        );
        let peers = config
            .listeners
            .into_iter()
            .map(|listener| listener.forward_to);
        peers
            .flatten()
            .map(|peer| peer.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(peers(&text), ["peer:8080", "peer:1"]);
    assert_eq!(peers(&text.replace("\"forward\"", "\"serve\"")), [""; 0]);
}

#[test]
fn a_listener_takes_leave_in_its_own_way() {
    let text = with(
        "[drain]\nclose_patience = \"9s\"\nwebsocket_announce = '{\"in\":{in_ms}}'\n\
         websocket_announce_ahead = \"8s\"\n",
    ) + "[[listener]]\nname = \"b\"\nbind = \"[::]:1\"\nprotocol = \"http\"\n\
         upstream = \"agent\"\nclose_patience = \"500ms\"\nwebsocket_announce = \"\"\n\
         websocket_announce_ahead = \"1s\"\n";
    let config = file(&text).expect("legal").config;
    let [first, second] = config.listeners.as_slice() else {
        panic!("{config:?}")
    };
    let told = first.goodbye.announcement.as_ref().expect("as in [drain]");
    assert_eq!(told.fill(7, 9), "{\"in\":7}");
    assert_eq!(first.goodbye.announce_ahead.as_secs(), 8);
    assert_eq!(first.goodbye.close_patience.map(|d| d.as_secs()), Some(9));
    assert_eq!(second.goodbye.announcement, None, "an empty text is none");
    assert_eq!(second.goodbye.announce_ahead.as_secs(), 1);
    let patience = second.goodbye.close_patience;
    assert_eq!(patience.map(|d| d.as_millis()), Some(500));
}

#[test]
fn upstreams_keep_the_order_of_the_file() {
    let text = LEAST
        .replace("\"agent\"\n", "\"zoo\"\n")
        .replace("[upstream.agent]", "[upstream.zoo]")
        + "[upstream.agent]\nendpoints = [\"a:1\", \"b:2\"]\n";
    let config = file(&text).expect("legal").config;
    let names: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| upstream.name.to_string())
        .collect();
    assert_eq!(names, ["zoo", "agent"]);
    assert_eq!(config.upstreams[1].endpoints.len(), 2);
}

#[test]
fn every_fault_is_an_error_or_a_warning_with_help() {
    let faults = file("workers = 0\nwidnow = 1\n[http]\nidle_timeout = \"1s\"\n").expect_err("bad");
    assert_eq!(faults.errors(), 4, "{faults}");
    let [.., warning] = faults.findings() else {
        panic!("{faults}")
    };
    assert_eq!(warning.severity, Severity::Warning);
    assert!(
        faults
            .findings()
            .iter()
            .all(|finding| !finding.help.is_empty()),
        "{faults}"
    );
}
