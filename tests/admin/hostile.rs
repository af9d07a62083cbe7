//! Requests that must have no effect.

use std::io::{Read, Write};

use crate::harness::{PATIENCE, Proxy, QUICK, ask, eventually, lameduck, raw};

/// Checks that nothing has come of what was asked.
fn untouched(proxy: &Proxy, after: &str) {
    let status = proxy.status();
    assert_eq!(status["phase"], "serving", "{after}");
    assert_eq!(status["holds_open"], 0, "{after}");
    assert_eq!(status["open"], 1, "{after}");
}

#[test]
fn other_pages_and_other_names_are_refused() {
    let proxy = Proxy::start(QUICK);
    let _session = proxy.session();
    let (own, port) = (proxy.admin, proxy.admin.port());
    for (fields, status) in [
        (format!("Host: evil.example:{port}\r\n"), 421),
        ("Host: evil.example\r\n".to_owned(), 421),
        ("Host: 127.0.0.1\r\n".to_owned(), 421),
        (format!("Host: 127.0.0.2:{port}\r\n"), 421),
        (format!("Host: localhost.evil.example:{port}\r\n"), 421),
        (String::new(), 400),
        (format!("Host: {own}\r\nHost: evil.example\r\n"), 400),
        (
            format!("Host: {own}\r\nOrigin: http://evil.example\r\n"),
            403,
        ),
        (format!("Host: {own}\r\nOrigin: null\r\n"), 403),
        (
            format!("Host: {own}\r\nOrigin: http://evil.example:{port}\r\n"),
            403,
        ),
    ] {
        for (method, path) in [
            ("POST", "/v1/drain"),
            ("GET", "/v1/status"),
            ("GET", "/v1/no"),
        ] {
            let said = ask(proxy.admin, method, path, &fields, "");
            assert_eq!(said.status, status, "{fields:?}: {said:?}");
            said.problem();
        }
        untouched(&proxy, &fields);
    }
    for name in [format!("localhost:{port}"), own.to_string()] {
        let fields = format!("Host: {name}\r\nOrigin: http://{name}\r\n");
        let said = ask(proxy.admin, "GET", "/v1/status", &fields, "");
        assert_eq!(said.status, 200, "{said:?}");
    }
    let absolute = "POST http://evil.example/v1/drain HTTP/1.1\r\n";
    let said = raw(
        own,
        &format!("{absolute}Host: {own}\r\nConnection: close\r\n\r\n"),
    );
    assert_eq!(said.status, 421);
    untouched(&proxy, absolute);
}

#[test]
fn bodies_that_are_wrong_are_told_what_would_be_right() {
    let proxy = Proxy::start(QUICK);
    let _session = proxy.session();
    let huge = format!(r#"{{"reason":"{}"}}"#, "a".repeat(20_000));
    for (method, path, body, status, words) in [
        ("POST", "/v1/drain", "{", 400, "is no JSON"),
        ("POST", "/v1/drain", "[]", 400, "no object"),
        (
            "POST",
            "/v1/drain",
            r#"{"windwo":"30s"}"#,
            400,
            "there are window, reason, listener and share",
        ),
        (
            "POST",
            "/v1/drain",
            r#"{"window":"30"}"#,
            400,
            "write the unit too: \"30s\"",
        ),
        (
            "POST",
            "/v1/drain",
            r#"{"window":"0s"}"#,
            400,
            "longer than zero",
        ),
        ("POST", "/v1/drain", r#"{"window":30}"#, 400, "\"30s\""),
        (
            "POST",
            "/v1/drain",
            r#"{"reason":"\u001b[2J"}"#,
            400,
            "control character",
        ),
        ("POST", "/v1/drain", &huge, 413, "16384"),
        ("POST", "/v1/holds", &huge, 413, "16384"),
        ("GET", "/v1/status", &huge, 413, "16384"),
        ("POST", "/v1/holds", "", 400, "ttl: is missing"),
        (
            "POST",
            "/v1/holds",
            r#"{"ttl":"30s"}"#,
            400,
            "reason: is missing",
        ),
        (
            "POST",
            "/v1/holds",
            r#"{"ttl":"2h","reason":"a"}"#,
            400,
            "1s to 3600s",
        ),
        (
            "POST",
            "/v1/holds",
            r#"{"ttl":"1ms","reason":"a"}"#,
            400,
            "1s to 3600s",
        ),
        (
            "PUT",
            "/v1/holds/h7",
            r#"{"ttl":"1s"}"#,
            404,
            "no such hold",
        ),
        (
            "PUT",
            "/v1/holds/h7",
            r#"{"ttl":"1s","reason":"a"}"#,
            400,
            "there are ttl alone",
        ),
        ("DELETE", "/v1/holds/x", "", 404, "no such hold"),
        (
            "GET",
            "/v1/sessions/0000000000000fff",
            "",
            404,
            "no such session",
        ),
        (
            "DELETE",
            "/v1/sessions/ffffffffffffffff",
            "",
            404,
            "no such session",
        ),
        (
            "DELETE",
            "/v1/sessions/../drain",
            "",
            404,
            "no such session",
        ),
        ("GET", "/v1/sessions?kind=ftp", "", 400, "websocket"),
        ("GET", "/v1/sessions?limit=9999", "", 400, "from 1 to 1000"),
        ("DELETE", "/v1/drain", "", 409, "no drain"),
        ("GET", "/v1/drain/report", "", 404, "no drain yet"),
        ("GET", "/v1/drain", "", 405, "POST, DELETE"),
        ("OPTIONS", "/v1/drain", "", 405, "POST, DELETE"),
        ("POST", "/v1/status", "", 405, "GET, HEAD"),
        ("GET", "/", "", 404, "under /v1/"),
        ("POST", "/v1//drain", "", 404, "under /v1/"),
    ] {
        let said = proxy.call(method, path, body);
        assert_eq!(said.status, status, "{method} {path}: {said:?}");
        let detail = said.problem();
        assert!(detail.contains(words), "{method} {path}: {detail}");
        if status == 405 {
            assert!(
                said.head
                    .contains(&format!("allow: {}", words.to_lowercase()))
            );
        }
        untouched(&proxy, &format!("{method} {path} {}", body.len()));
    }
    assert_eq!(
        proxy.call("POST", "/v1/drain", r#"{"window":30}"#).json()["field"],
        "window"
    );
    let own = proxy.admin;
    let chunks = format!("{:x}\r\n{huge}\r\n0\r\n\r\n", huge.len());
    let said = raw(
        own,
        &format!(
            "POST /v1/drain HTTP/1.1\r\nHost: {own}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ),
    );
    assert_eq!(said.status, 413);
    untouched(&proxy, "a huge body in chunks");
}

#[test]
fn without_the_token_nothing_is_done() {
    let mut token = tempfile::NamedTempFile::new().expect("a file");
    token.write_all(b"s3cret\n").expect("written");
    let path = token.path().to_str().expect("text");
    let admin = format!("[admin]\nbind = \"0.0.0.0:0\"\ntoken_file = \"{path}\"\n");
    let proxy = Proxy::start(&format!("{QUICK}{admin}"));
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], proxy.admin.port()));
    let fields = |more: &str| format!("Host: {to}\r\n{more}");
    for wrong in [
        "",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Basic s3cret\r\n",
    ] {
        let said = ask(to, "POST", "/v1/drain", &fields(wrong), "");
        assert_eq!(said.status, 401, "{said:?}");
        assert!(said.head.contains("www-authenticate: bearer"), "{said:?}");
        said.problem();
    }
    let right = fields("Authorization: Bearer s3cret\r\n");
    let status = ask(to, "GET", "/v1/status", &right, "").json();
    assert_eq!(status["phase"], "serving");

    let url = format!("http://{to}");
    let refused = lameduck(&["status", "--admin", &url])
        .output()
        .expect("run");
    assert_eq!(refused.status.code(), Some(1));
    let err = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(err.contains("a bearer token is needed"), "{err}");
    let granted = lameduck(&["status", "--admin", &url, "--token-file", path, "--json"]);
    let granted = { granted }.output().expect("run");
    assert!(granted.status.success(), "{granted:?}");
}

#[test]
fn more_calls_than_are_taken_have_no_effect() {
    let proxy = Proxy::start(QUICK);
    let own = proxy.admin;
    let mut stream = std::net::TcpStream::connect(own).expect("served");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let body = r#"{"ttl":"1h","reason":"a"}"#;
    let length = body.len();
    let hold = |fields: &str| {
        format!(
            "POST /v1/holds HTTP/1.1\r\nHost: {own}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let flood = hold("").repeat(1500) + &hold("Connection: close\r\n");
    let mut sending = stream.try_clone().expect("a socket");
    let sender = std::thread::spawn(move || sending.write_all(flood.as_bytes()));
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("every answer");
    sender.join().expect("sent").expect("taken");
    let granted = answers.matches("HTTP/1.1 201 Created\r\n").count();
    let refused: Vec<_> = answers
        .split("HTTP/1.1 ")
        .filter(|answer| answer.starts_with("429 "))
        .collect();
    assert_eq!(granted + refused.len(), 1501);
    assert!(granted >= 200, "{granted}");
    for refused in &refused {
        let (head, body) = refused.split_once("\r\n\r\n").expect("a head");
        let head = head.to_lowercase();
        assert!(head.contains("retry-after: 1"), "{head}");
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert!(body.contains("100 a second"), "{body}");
    }
    assert!(!refused.is_empty(), "{granted} were granted");
    // Health, on the same thread, is asked as often as anybody likes.
    for _ in 0..250 {
        let said = ask(proxy.health, "GET", "/livez", "Host: a\r\n", "");
        assert_eq!(said.status, 200, "{said:?}");
    }
    let holds = eventually("it takes calls again", || {
        let said = proxy.call("GET", "/v1/status", "");
        (said.status == 200).then(|| said.json()["holds_open"].clone())
    });
    assert_eq!(holds, granted, "what was refused has no effect");
}

#[test]
fn more_event_streams_than_there_may_be_leave_the_rest_alone() {
    let proxy = Proxy::start(QUICK);
    let mut streams: Vec<_> = (0..8).map(|_| proxy.events()).collect();
    for stream in &mut streams {
        stream.next().expect("a status");
    }
    assert_eq!(proxy.call("GET", "/v1/events", "").status, 503);
    assert_eq!(proxy.status()["phase"], "serving");
}
