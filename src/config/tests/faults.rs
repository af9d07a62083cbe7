//! What is wrong is told all at once, each with its place and its way out.

use std::path::Path;

use proptest::prelude::*;

use super::reference::REFERENCE;
use super::{LEAST, file, told, with};
use crate::config::load::parse;
use crate::config::{Overrides, Token, load};

#[test]
fn many_faults_are_told_in_one_go() {
    let faults = file(
        r#"workers = "two"
[[listener]]
name = "Chat"
bind = 8080
protocol = "https"
upstream = "agnet"

[upstream.agent]
endpoints = ["127.0.0.1"]
conect_timeout = "1s"

[drain]
window = "5 parsecs"
margin = "400s"
websocket_close_code = 1000
"#,
    )
    .expect_err("faulty");
    let expected = [
        "x.toml:1:11: error: workers: expected a number, found a string; leave the quotes out
    workers = \"two\"
              ^^^^^
    help: write a whole number from 1 to 1024",
        "x.toml:3:8: error: listener[0].name: `Chat` is not a name
    name = \"Chat\"
           ^^^^^^
    help: write 1 to 64 of the characters a-z, 0-9, _ and -",
        "x.toml:4:8: error: listener[0].bind: `8080` is not an address to bind
    bind = 8080
           ^^^^
    help: write \"0.0.0.0:8080\"",
        "x.toml:5:12: error: listener[0].protocol: `https` is not known here
    protocol = \"https\"
               ^^^^^^^
    help: did you mean \"http\"; the words are \"http\" or \"tcp\" or \"tls-passthrough\"",
        "x.toml:6:12: error: listener[0].upstream: there is no upstream `agnet`
    upstream = \"agnet\"
               ^^^^^^^
    help: did you mean \"agent\"",
        "x.toml:9:14: error: upstream.agent.endpoints: `127.0.0.1` is not the address of an agent
    endpoints = [\"127.0.0.1\"]
                 ^^^^^^^^^^^
    help: write host:port, such as \"127.0.0.1:9000\"",
        "x.toml:10:1: error: upstream.agent.conect_timeout: is not a known key
    conect_timeout = \"1s\"
    ^^^^^^^^^^^^^^
    help: did you mean `connect_timeout`",
        "x.toml:13:10: error: drain.window: `5 parsecs` is not a duration
    window = \"5 parsecs\"
             ^^^^^^^^^^^
    help: write a number and a unit, such as \"250ms\", \"30s\" or \"5m\"",
        "x.toml:15:24: error: drain.websocket_close_code: `1000` tells clients that all is done, \
         and some then stay away (Phoenix, Supabase)
    websocket_close_code = 1000
                           ^^^^
    help: write 1012 (service restart), 1001 (going away) for clients that know no 1012, or a \
         code of your own from 3000 to 4999",
    ];
    assert_eq!(faults.to_string(), expected.join("\n"));
}

#[test]
fn an_announcement_with_an_unknown_gap_names_the_known_ones() {
    let text = with("[drain]\nwebsocket_announce = '{\"in\":{in_s}}'\n");
    let shown = file(&text).expect_err("faulty").to_string();
    for part in [
        "x.toml:9:22: error: drain.websocket_announce: `{in_s}` is not known here",
        "known are {in_ms} and {close_in_ms}",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn what_is_missing_is_told_at_the_table_it_belongs_to() {
    assert_eq!(
        told("[[listener]]\nbind = \"0.0.0.0:1\"\nprotocol = \"tcp\"\n\n[upstream.agent]\n"),
        [
            "x.toml:1:1: error: listener[0].name: is missing",
            "x.toml:1:1: error: listener[0].upstream: is missing",
            "x.toml:5:1: error: upstream.agent.endpoints: is missing",
        ]
    );
    assert_eq!(
        told(""),
        [
            "error: there is no listener",
            "error: it is not said where the agent listens"
        ]
    );
}

#[test]
fn tables_of_the_wrong_shape_are_told_once() {
    assert_eq!(
        told("drain = 1\n[listener]\nname = \"a\"\n[upstream]\nendpoints = [\"a:1\"]\n"),
        [
            "x.toml:1:9: error: drain: expected a table, found a number",
            "x.toml:2:1: error: listener: expected a list of tables, found a table",
            "x.toml:5:1: error: upstream.endpoints: expected a table, found a list",
        ]
    );
}

#[test]
fn a_hook_that_nobody_could_call_is_told_with_its_place() {
    let faults = file(&with(
        "[drain.hooks]\nclosing = \"https://agent:9000/x\"\ntimeout = \"0s\"\n",
    ))
    .expect_err("faulty");
    assert_eq!(
        faults.to_string(),
        "x.toml:9:11: error: drain.hooks.closing: `https://agent:9000/x` is not the URL of a hook
    closing = \"https://agent:9000/x\"
              ^^^^^^^^^^^^^^^^^^^^^^
    help: hooks speak plain HTTP, to an agent next door: \"http://agent:9000/x\"
x.toml:10:11: error: drain.hooks.timeout: must be longer than zero
    timeout = \"0s\"
              ^^^^
    help: write a number and a unit, such as \"250ms\", \"30s\" or \"5m\""
    );
}

#[test]
fn unknown_keys_say_what_may_be_meant() {
    for (text, what, help) in [
        (
            "[drian]\nwindow = \"30s\"\n",
            "drian: is not a known key",
            "did you mean `drain`",
        ),
        (
            "[drain]\nwindwo = 1\n",
            "drain.windwo: is not a known key",
            "did you mean `window`",
        ),
        (
            "[log]\nwindow = 1\n",
            "log.window: is not a known key",
            "it belongs into [drain]",
        ),
        (
            "[log]\nbind = 1\n",
            "log.bind: is not a known key",
            "it belongs into [[listener]]",
        ),
        (
            "[log]\ncolour = 1\n",
            "log.colour: is not a known key",
            "known here are format",
        ),
    ] {
        let shown = file(&with(text)).expect_err(text).to_string();
        assert!(
            shown.contains(what) && shown.contains(help),
            "{text}: {shown}"
        );
        assert_eq!(shown.matches("error:").count(), 1, "{shown}");
    }
}

#[test]
fn errors_of_syntax_come_all_and_without_echoes() {
    assert_eq!(
        told("workers = 0\n[drain]\nwindow = 30s\nmargin = \"2s\nfoo = 1\n[log]\nformat =\n"),
        [
            "x.toml:1:11: error: workers: `0` is out of range",
            "x.toml:3:10: error: `30s` is not in quotes",
            "x.toml:4:13: error: invalid basic string, expected `\"`",
            "x.toml:5:1: error: drain.foo: is not a known key",
            "x.toml:7:9: error: the value is missing",
        ]
    );
    assert_eq!(
        told("workers = 1\nworkers = 2\n"),
        ["x.toml:2:1: error: duplicate key"]
    );
    // What stands below a broken header may belong anywhere.
    assert_eq!(
        told("[log]\nformat = \"xml\"\n[drain\nwidnow = \"30s\"\nmargin = 1\n"),
        [
            "x.toml:2:10: error: log.format: `xml` is not known here",
            "x.toml:3:7: error: unclosed table, expected `]`",
        ]
    );
}

#[test]
fn values_that_do_not_fit_each_other_are_told_at_the_one_to_change() {
    let second =
        |keys: &str| format!("[[listener]]\nprotocol = \"tcp\"\nupstream = \"agent\"\n{keys}");
    for (tables, told_as) in [
        (
            "[platform.aws]\nderegister = true\n".to_owned(),
            "x.toml:9:14: error: platform.aws.deregister: there is no target group to leave",
        ),
        (
            "[drain]\nwindow = \"20s\"\nmargin = \"20s\"\n".to_owned(),
            "x.toml:10:10: error: drain.margin: the margin of 20s leaves nothing of the window of 20s",
        ),
        (
            "[drain]\nwindow = \"20s\"\nlame_duck_max = \"1s\"\n".to_owned(),
            "x.toml:10:17: error: drain.lame_duck_max: lame_duck_min of 2s is longer than \
             lame_duck_max, which is 1s here",
        ),
        (
            "[drain]\nlame_duck_min = \"10m\"\n".to_owned(),
            "x.toml:9:17: error: drain.lame_duck_min: lame_duck_min of 600s is longer than \
             lame_duck_max, which is 150s here",
        ),
        (
            second("name = \"chat\"\nbind = \"0.0.0.0:1\"\n"),
            "x.toml:11:8: error: listener[1].name: `chat` is the name of another listener too",
        ),
        (
            second("name = \"b\"\nbind = \"127.0.0.1:8080\"\n"),
            "x.toml:12:8: error: listener[1].bind: `127.0.0.1:8080` is taken: listener[0].bind is \
             `0.0.0.0:8080`",
        ),
        (
            second("name = \"b\"\nbind = \"127.0.0.1:9181\"\n"),
            "x.toml:12:8: error: listener[1].bind: `127.0.0.1:9181` is taken: admin.bind is \
             `127.0.0.1:9181`",
        ),
        (
            "[admin]\nbind = \"127.0.0.1:9180\"\n".to_owned(),
            "x.toml:9:8: error: admin.bind: `127.0.0.1:9180` is taken: health.bind is \
             `0.0.0.0:9180`",
        ),
        (
            "[drain]\nlate_arrivals = \"forward\"\n".to_owned(),
            "x.toml:9:17: error: drain.late_arrivals: `forward` needs a peer, and listener `chat` \
             has none",
        ),
        (
            "[drain]\nlate_arrivals = \"forward\"\nforward_to = \"127.0.0.1:8080\"\n".to_owned(),
            "x.toml:10:14: error: drain.forward_to: `127.0.0.1:8080` is this proxy itself: \
             listener[0].bind is `0.0.0.0:8080`",
        ),
        (
            second("name = \"b\"\nbind = \"10.0.0.1:1\"\nforward_to = \"10.0.0.1:1\"\n")
                + "[drain]\nlate_arrivals = \"forward\"\nforward_to = \"10.0.0.7:8080\"\n",
            "x.toml:13:14: error: listener[1].forward_to: `10.0.0.1:1` is this proxy itself: \
             listener[1].bind is `10.0.0.1:1`",
        ),
        (
            "[drain]\nlate_arrivals = \"forward\"\nforward_to = \"10.0.0.7\"\n".to_owned(),
            "x.toml:10:14: error: drain.forward_to: `10.0.0.7` is not the address of a peer",
        ),
    ] {
        assert_eq!(told(&with(&tables)), [told_as]);
    }
    let twice = LEAST.replace("[\"127.0.0.1:9000\"]", "[\"a:1\", \"b:1\", \"a:1\"]");
    assert_eq!(
        told(&twice),
        ["x.toml:7:28: error: upstream.agent.endpoints: `a:1` is in the list twice"]
    );
}

#[test]
fn different_addresses_and_port_zero_do_not_collide() {
    let text = LEAST.replace("0.0.0.0:8080", "127.0.0.1:0")
        + "[health]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n";
    assert_eq!(told(&text), [""; 0]);
    let apart = with("[health]\nbind = \"127.0.0.1:1\"\n[admin]\nbind = \"127.0.0.2:1\"\n");
    assert_eq!(told(&apart), [""; 0]);
}

#[test]
fn a_faulty_value_draws_no_conclusions() {
    assert_eq!(
        told(&with("[drain]\nwindow = \"soon\"\nmargin = \"10m\"\n")),
        ["x.toml:9:10: error: drain.window: `soon` is not a duration"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let path = Path::new("no/such/file.toml");
    let faults = load(Some(path), &Overrides::default()).expect_err("none there");
    let shown = faults.to_string();
    assert!(
        shown.starts_with("error: cannot read `no/such/file.toml`: No such file"),
        "{shown}"
    );

    let binary = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(binary.path(), b"ab\xff").expect("written");
    let faults = load(Some(binary.path()), &Overrides::default()).expect_err("not text");
    assert!(
        faults.to_string().contains("not UTF-8 from byte 2"),
        "{faults}"
    );
}

proptest! {
    /// A file under the pen: whatever stands there, it is read to its end, every place found lies
    /// on its line, and rendering works.
    #[test]
    fn no_text_is_too_broken_to_be_told_about(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[\\PC\n\t]{0,4}", 0..6_usize), 1..5)
    ) {
        let mut text: Vec<char> = REFERENCE.replace("\n# ", "\n").chars().collect();
        for (at, inserted, removed) in cuts {
            let start = at.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        let findings = match file(&text) {
            Ok(loaded) => loaded.warnings,
            Err(faults) => faults.findings().to_vec(),
        };
        for finding in findings {
            prop_assert!(!finding.to_string().is_empty());
            if let Some(place) = finding.place {
                let line = text.split('\n').nth(place.line - 1).unwrap_or_default();
                prop_assert_eq!(line.trim_end_matches('\r'), &place.source);
                let rest: String = line.chars().skip(place.column - 1).collect();
                prop_assert!(rest.starts_with(&place.text), "{:?}", place);
            }
        }
    }
}

#[test]
fn the_control_api_leaves_loopback_only_with_a_token() {
    for bind in ["127.0.0.1:9181", "[::1]:0", "127.1.2.3:1", "unix:/run/x"] {
        file(&with(&format!("[admin]\nbind = \"{bind}\"\n"))).expect(bind);
    }
    let wide = "[admin]\nbind = \"0.0.0.0:9181\"\n";
    let shown = file(&with(wide)).expect_err("wide").to_string();
    assert!(
        shown.starts_with("x.toml:9:8: error: admin.bind: `0.0.0.0:9181` can be reached from"),
        "{shown}"
    );
    assert!(
        shown.contains("\"127.0.0.1:9181\", or give admin.token_file"),
        "{shown}"
    );
    let config = file(&with(&format!("{wide}token_file = \"t\"\n")))
        .expect("legal")
        .config;
    assert!(config.admin.token.is_some());
}

#[test]
fn a_token_file_that_cannot_be_read_is_told_at_its_place() {
    let text = with("[admin]\ntoken_file = \"/no/such\"\n");
    let read = |text: &str| {
        parse(
            Some("x.toml".into()),
            text,
            &Overrides::default(),
            Token::read,
        )
    };
    let shown = read(&text).expect_err("missing").to_string();
    assert!(
        shown.starts_with("x.toml:9:14: error: admin.token_file: cannot read `/no/such`: "),
        "{shown}"
    );
}
