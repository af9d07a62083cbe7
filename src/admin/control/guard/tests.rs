use http::Request;

use super::*;

const PORT: u16 = 9181;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], PORT))
}

fn status_at(
    bound: SocketAddr,
    local: SocketAddr,
    target: &str,
    fields: &[(&str, &str)],
    token: Option<&Token>,
) -> u16 {
    let mut request = Request::get(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    match check(&parts, &Bind::Tcp(bound), Some(local), token) {
        Ok(()) => 200,
        Err(problem) => problem.into_response().status().as_u16(),
    }
}

fn status(fields: &[(&str, &str)]) -> u16 {
    status_at(loopback(), loopback(), "/v1/status", fields, None)
}

#[test]
fn the_host_is_the_address_that_is_bound() {
    for host in ["127.0.0.1:9181", "localhost:9181", "LOCALHOST:9181"] {
        assert_eq!(status(&[("host", host)]), 200, "{host}");
    }
    for host in [
        "evil.example:9181",
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:80",
        "127.0.0.1:9182",
        "127.0.0.1:99181",
        "127.0.0.2:9181",
        "127.1:9181",
        "2130706433:9181",
        "localhost.:9181",
        "localhost.evil.example:9181",
        "127.0.0.1.evil.example:9181",
        "[::1]:9181",
        "a@127.0.0.1:9181",
        "127.0.0.1:9181@evil.example:9181",
        "",
        "127.0.0.1:9181, evil.example",
    ] {
        assert_eq!(status(&[("host", host)]), 421, "{host}");
    }
}

#[test]
fn there_is_one_host() {
    assert_eq!(status(&[]), 400);
    let host = ("host", "127.0.0.1:9181");
    assert_eq!(status(&[host, ("host", "evil.example")]), 400);
    assert_eq!(status(&[host, host]), 400);
}

#[test]
fn a_target_in_absolute_form_counts_too() {
    let fields = [("host", "127.0.0.1:9181")];
    for (target, expected) in [
        ("http://127.0.0.1:9181/v1/status", 200),
        ("http://evil.example/v1/status", 421),
    ] {
        let found = status_at(loopback(), loopback(), target, &fields, None);
        assert_eq!(found, expected, "{target}");
    }
}

#[test]
fn no_other_page_may_call() {
    let host = ("host", "127.0.0.1:9181");
    for origin in ["http://127.0.0.1:9181", "http://localhost:9181"] {
        assert_eq!(status(&[host, ("origin", origin)]), 200, "{origin}");
    }
    for origin in [
        "null",
        "http://evil.example",
        "http://evil.example:9181",
        "https://127.0.0.1:9181",
        "http://127.0.0.1",
        "http://127.0.0.1:8080",
        "",
    ] {
        assert_eq!(status(&[host, ("origin", origin)]), 403, "{origin}");
    }
    let both = [
        host,
        ("origin", "http://127.0.0.1:9181"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(status(&both), 403);
}

#[test]
fn a_wildcard_is_called_by_a_number() {
    let bound = SocketAddr::from(([0, 0, 0, 0], PORT));
    let local = SocketAddr::from(([10, 0, 0, 5], PORT));
    for (host, expected) in [
        ("10.0.0.5:9181", 200),
        ("192.0.2.1:9181", 200),
        ("[2001:db8::1]:9181", 200),
        ("localhost:9181", 421),
        ("evil.example:9181", 421),
    ] {
        let found = status_at(bound, local, "/", &[("host", host)], None);
        assert_eq!(found, expected, "{host}");
    }
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], PORT));
    assert_eq!(status_at(v6, v6, "/", &[("host", "[::1]:9181")], None), 200);
}

#[test]
fn a_unix_socket_is_called_localhost_and_no_page_comes_to_it() {
    let status = |fields: &[(&str, &str)], token: Option<&Token>| {
        let mut request = Request::get("/v1/status");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match check(&parts, &Bind::Unix("/run/x".into()), None, token) {
            Ok(()) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    };
    assert_eq!(status(&[("host", "localhost")], None), 200);
    for host in [
        "evil.example",
        "localhost:9181",
        "127.0.0.1",
        "localhost.evil.example",
        "",
    ] {
        assert_eq!(status(&[("host", host)], None), 421, "{host}");
    }
    assert_eq!(status(&[], None), 400);
    for origin in ["http://localhost", "null", "http://evil.example"] {
        let fields = [("host", "localhost"), ("origin", origin)];
        assert_eq!(status(&fields, None), 403, "{origin}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let token = Token::read(file.path()).unwrap();
    assert_eq!(status(&[("host", "localhost")], Some(&token)), 401);
}

#[test]
fn the_token_is_needed_where_there_is_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let token = Token::read(file.path()).unwrap();
    let host = ("host", "127.0.0.1:9181");
    let with = |fields: &[(&str, &str)]| {
        status_at(loopback(), loopback(), "/v1/status", fields, Some(&token))
    };
    assert_eq!(with(&[host]), 401);
    for (value, expected) in [
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3cret2", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
    ] {
        assert_eq!(with(&[host, ("authorization", value)]), expected, "{value}");
    }
    let right = ("authorization", "Bearer s3cret");
    assert_eq!(with(&[host, right, right]), 401);
    // Who is not from here does not learn whether the token was right.
    assert_eq!(with(&[("host", "evil.example"), right]), 421);
}
