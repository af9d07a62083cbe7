//! Drains of a part: a listener, or a share of the sessions, while the rest serves.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use crate::harness::{Proxy, QUICK, ask, eventually};

/// Whether a session is still served: a byte comes back.
fn is_served(session: &mut TcpStream) -> bool {
    let mut echo = [0];
    session.write_all(b"?").is_ok() && session.read_exact(&mut echo).is_ok()
}

/// A client that ends its side when it is told to go.
fn goes_when_told(mut session: TcpStream) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = session.read_to_end(&mut rest);
        let _ = session.shutdown(Shutdown::Write);
    })
}

#[test]
fn a_listener_is_drained_alone_and_comes_back() {
    let proxy = Proxy::start(QUICK);
    let client = goes_when_told(proxy.session());
    let drain = [
        "drain",
        "--listener",
        "lines",
        "--wait",
        "--reason",
        "moving",
    ];
    let output = proxy.run(&drain);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.starts_with("listener lines drained in "), "{table}");
    client.join().expect("told to go");

    let status = proxy.status();
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["parts"][0]["part"], "listener lines");
    assert_eq!(status["parts"][0]["phase"], "drained");
    TcpStream::connect(proxy.lines).expect_err("the listener is closed");
    let ready = ask(proxy.health, "GET", "/readyz", "Host: a\r\n", "");
    assert_eq!(ready.status, 200, "the process serves: {ready:?}");
    let _other = proxy.request();
    // Once more changes nothing, and its report is still there.
    let again = proxy.run(&drain);
    assert_eq!(String::from_utf8_lossy(&again.stdout), table, "{again:?}");

    let undrain = proxy.run(&["undrain", "--listener", "lines"]);
    assert!(undrain.status.success(), "{undrain:?}");
    eventually("the listener is back", || {
        TcpStream::connect(proxy.lines).ok()
    });
    assert_eq!(proxy.status()["parts"], json!([]));
}

#[test]
fn a_share_goes_while_everything_serves() {
    let proxy = Proxy::start(QUICK);
    let mut sessions: Vec<_> = (0..8).map(|_| proxy.session()).collect();
    let watched: Vec<_> = sessions
        .iter()
        .map(|session| goes_when_told(session.try_clone().expect("a socket")))
        .collect();
    let output = proxy.run(&["drain", "--share", "25%", "--window", "5s", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.starts_with("share 25% drained in "), "{table}");
    let open = || proxy.status()["sessions"]["lines"]["tcp"].clone();
    eventually("two have gone", || (open() == 6).then_some(()));
    assert!(is_served(&mut proxy.session()), "new ones are served");
    let told = watched.iter().filter(|watched| watched.is_finished());
    assert_eq!(told.count(), 2);
    assert_eq!(proxy.status()["parts"], json!([]));
    sessions.clear();
}

#[test]
fn what_is_no_part_is_refused_with_the_way_out() {
    let proxy = Proxy::start(QUICK);
    for (body, words) in [
        (r#"{"listener":"line"}"#, "there are lines, web"),
        (r#"{"share":"0%"}"#, "such as \"25%\""),
        (r#"{"share":"25"}"#, "such as \"25%\""),
        (r#"{"share":"25%","listener":"web"}"#, "give one of them"),
    ] {
        let said = proxy.call("POST", "/v1/drain", body);
        assert_eq!(said.status, 400, "{said:?}");
        assert!(said.problem().contains(words), "{said:?}");
    }
    let nothing = proxy.call("DELETE", "/v1/drain?listener=web", "");
    assert_eq!(nothing.status, 409, "{nothing:?}");
    assert_eq!(
        proxy.call("DELETE", "/v1/drain?listner=web", "").status,
        400
    );
    let both = proxy.run(&["drain", "--listener", "web", "--share", "5%"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    assert_eq!(proxy.status()["phase"], "serving");
}
