//! HTTP/1.1 through the proxy, byte by byte: what must pass, what must not, and what is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::{Agent, Vacancy};
use crate::harness::client::websocket::{ACCEPT, UPGRADE};
use crate::harness::frames::{Frame, TEXT};
use crate::harness::wire::{Body, End, Head, Response, Wire, request};
use crate::harness::{Proxy, within};

/// What an agent saw, as it came.
struct Seen(mpsc::UnboundedReceiver<(Head, Body)>);

impl Seen {
    async fn next(&mut self) -> (Head, Body) {
        within(10, "a request at the agent", self.0.recv())
            .await
            .expect("the agent lives")
    }

    fn nothing(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// An agent that answers every request with the same bytes.
fn answering(answer: &'static str) -> (Agent, Seen) {
    let (told, seen) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            while let Some(request) = wire.next_request().await {
                let _ = told.send(request);
                if wire.send(answer).await.is_err() {
                    return;
                }
            }
        }
    });
    (agent, Seen(seen))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn client_of(proxy: &Proxy) -> Wire {
    Wire::connect(proxy.addr("web"))
        .await
        .expect("the proxy takes the connection")
}

async fn response(wire: &mut Wire, method: &str) -> Response {
    within(10, "a response", wire.response(method))
        .await
        .expect("a response")
}

/// That a response is an RFC 9457 problem of this status.
fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json"),
        "{response:?}"
    );
    let body: Value = serde_json::from_str(&response.text()).expect("a JSON body");
    assert_eq!(body["status"], status, "{body}");
    assert!(body["title"].is_string(), "{body}");
}

#[tokio::test]
async fn fields_of_one_hop_stay_on_it() {
    let (agent, mut seen) = answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-secret\r\nx-secret: 1\r\n\
         keep-alive: timeout=3\r\nproxy-connection: keep-alive\r\nx-public: 2\r\n\r\nok",
    );
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let fields = [
        ("connection", "x-private, keep-alive, te"),
        ("x-private", "1"),
        ("x-public", "2"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip, trailers"),
    ];
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    let (head, _) = seen.next().await;
    assert_eq!(head.field("x-public"), Some("2"));
    for private in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(head.field(private), None, "{head:?}");
    }
    assert!(!head.lists("connection", "x-private"), "{head:?}");
    assert!(
        head.all("te").iter().all(|te| *te == "trailers"),
        "{head:?}"
    );
    assert_eq!(answer.field("x-public"), Some("2"));
    for secret in ["x-secret", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.field(secret), None, "{answer:?}");
    }
}

#[tokio::test]
async fn the_operator_chooses_what_becomes_of_forwarded_fields() {
    let ours = "127.0.0.1";
    for (rule, addresses, hosts) in [
        ("append", "203.0.113.7, 127.0.0.1", Some("agent.test")),
        ("replace", ours, Some("agent.test")),
        ("leave", "203.0.113.7", None),
    ] {
        let (agent, mut seen) = answering(OK);
        let rule_toml = format!("\"{rule}\"");
        let proxy = Proxy::http(agent.addr)
            .set("http", "forwarded", &rule_toml)
            .start()
            .await;
        let mut client = client_of(&proxy).await;
        let fields = [
            ("x-forwarded-for", "203.0.113.7"),
            ("forwarded", "for=203.0.113.7"),
        ];
        client
            .send(request("GET", "/", &fields, b""))
            .await
            .unwrap();
        response(&mut client, "GET").await;
        let (head, _) = seen.next().await;
        assert_eq!(head.all("x-forwarded-for").join(", "), addresses, "{rule}");
        assert_eq!(head.field("x-forwarded-host"), hosts, "{rule}");
        assert_eq!(
            head.field("x-forwarded-proto"),
            hosts.map(|_| "http"),
            "{rule}"
        );
        let forwarded = head.all("forwarded").join(", ");
        assert_eq!(
            forwarded.contains("203.0.113.7"),
            rule != "replace",
            "{rule}: {forwarded}"
        );
        assert_eq!(
            forwarded.contains(ours),
            rule != "leave",
            "{rule}: {forwarded}"
        );
        assert_eq!(head.field("host"), Some("agent.test"), "{rule}");
    }
}

#[tokio::test]
async fn a_continue_comes_from_the_agent() {
    let agent = Agent::scripted(|_, mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        assert_eq!(head.field("expect"), Some("100-continue"));
        let _ = wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = wire.request_body(&head).await;
        assert_eq!(body.bytes, b"hello");
        let _ = wire.send(OK).await;
        wire.more().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await
        .unwrap();
    let interim = within(10, "the interim response", client.head())
        .await
        .expect("a head");
    assert_eq!(interim.status(), 100, "{interim:?}");
    client.send("hello").await.unwrap();
    assert_eq!(response(&mut client, "POST").await.status, 200);
}

#[tokio::test]
async fn no_continue_comes_where_the_agent_says_no() {
    let (agent, mut seen) = {
        let (told, seen) = mpsc::unbounded_channel();
        let agent = Agent::scripted(move |_, mut wire| {
            let told = told.clone();
            async move {
                let Some(head) = wire.head().await else {
                    return;
                };
                let _ = told.send((head, Body::default()));
                let no = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n";
                let _ = wire.send(no).await;
                while wire.more().await {}
            }
        });
        (agent, Seen(seen))
    };
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await
        .unwrap();
    seen.next().await;
    let first = within(10, "the first response", client.head())
        .await
        .expect("a head");
    assert_eq!(first.status(), 417, "{first:?}");
}

#[tokio::test]
async fn a_head_has_a_length_and_no_body() {
    let (agent, mut seen) = answering("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    for _ in 0..2 {
        client.send(request("HEAD", "/", &[], b"")).await.unwrap();
        let answer = response(&mut client, "HEAD").await;
        assert_eq!(
            (answer.status, answer.field("content-length")),
            (200, Some("1234"))
        );
        assert!(seen.next().await.0.first.starts_with("HEAD / "));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let mut all = request("POST", "/echo", &[], b"first");
    all.extend(request("GET", "/slow?ms=100", &[], b""));
    all.extend(request("POST", "/echo", &[], b"third"));
    client.send(all).await.unwrap();
    for expected in ["first", "at last", "third"] {
        assert_eq!(response(&mut client, "GET").await.text(), expected);
    }
}

#[tokio::test]
async fn chunks_are_passed_on_as_they_come() {
    let (go_on, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let agent = Agent::scripted(move |_, mut wire| {
        let wait = wait.clone();
        async move {
            let Some((head, body)) = wire.next_request().await else {
                return;
            };
            assert!(head.lists("transfer-encoding", "chunked"), "{head:?}");
            assert_eq!(body.bytes, b"hello, world");
            let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            let _ = wire.send(first).await;
            let wait = wait.lock().unwrap().take();
            let _ = wait.expect("one request").await;
            let _ = wire.send("7\r\n second\r\n0\r\n\r\n").await;
            wire.more().await;
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    // The pieces of the request fall where no chunk ends.
    for piece in [
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6;x=y\r\nhel",
        "lo,\r\n6\r",
        "\n world\r\n0\r\n",
        "\r\n",
    ] {
        client.send(piece).await.unwrap();
        client.stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let first = within(10, "the first chunk", client.until(b"first\r\n")).await;
    assert!(first.is_some(), "the response ended before its first chunk");
    go_on.send(()).unwrap();
    let rest = within(10, "the last chunk", client.until(b"\r\n0\r\n\r\n"))
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&rest).contains(" second"));
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (agent, mut seen) = answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n",
    );
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\ntrailer: x-digest\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-digest: 17\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = response(&mut client, "POST").await;
    let (_, body) = seen.next().await;
    assert_eq!(body.trailers, [("x-digest".to_owned(), "17".to_owned())]);
    assert!(body.whole);
    assert_eq!(answer.text(), "ok");
    assert_eq!(
        answer.body.trailers,
        [("x-sum".to_owned(), "42".to_owned())]
    );
}

/// Requests that two readers could take for different ones, or that no reader should take.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "length and chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "chunked and length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ),
    (
        "the same length twice",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello",
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
    ),
    (
        "an empty length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello",
    ),
    (
        "a length beyond all",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
    ),
    (
        "chunked, then something",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "almost chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked behind a control character",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    ),
    (
        "a folded field",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
    ),
    (
        "a folded field with a tab",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n",
    ),
    (
        "a line that begins with a space",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    ),
    ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
    (
        "one bare line feed",
        "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
    ),
    (
        "a bare carriage return",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n",
    ),
    ("a NUL", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n"),
    (
        "a field without a name",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    ),
    (
        "a field without a colon",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n",
    ),
    (
        "a name of two words",
        "GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n",
    ),
    ("no host", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (
        "two spaces in the first line",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a space in the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("no version", "GET /\r\nHost: a\r\n\r\n"),
    ("an unknown version", "GET / HTTP/1.9\r\nHost: a\r\n\r\n"),
];

#[tokio::test]
async fn what_could_be_read_two_ways_never_reaches_the_agent() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut faults = Vec::new();
    for (what, bytes) in AMBIGUOUS {
        let mut client = client_of(&proxy).await;
        // A second request behind it shows whether the connection is still believed.
        let mut all = bytes.as_bytes().to_vec();
        all.extend(request("GET", "/behind", &[], b""));
        client.send(all).await.unwrap();
        let (heard, _) = within(15, what, client.rest()).await;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let refused = [
            "HTTP/1.1 400 ",
            "HTTP/1.1 501 ",
            "HTTP/1.1 505 ",
            "HTTP/1.0 400 ",
        ];
        if !refused.iter().any(|line| heard.starts_with(line)) {
            faults.push(format!("{what}: not refused, but {heard:?}"));
        }
        if heard.matches("HTTP/1.").count() > 1 {
            faults.push(format!("{what}: the connection went on: {heard:?}"));
        }
        while let Ok((head, _)) = seen.0.try_recv() {
            faults.push(format!("{what}: the agent saw {head:?}"));
        }
    }
    // Whatever came late would come before this one.
    let mut client = client_of(&proxy).await;
    client.request("GET", "/last", &[], b"").await.unwrap();
    let (last, _) = seen.next().await;
    if !last.first.starts_with("GET /last") {
        faults.push(format!("the agent saw {last:?} late"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Bodies whose chunks are broken; the head is in order, and may have reached the agent.
const BROKEN_CHUNKS: &[(&str, &str)] = &[
    ("no number", "zz\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("a prefixed size", "0x5\r\nhello\r\n0\r\n\r\n"),
    (
        "a size beyond all",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ),
    ("more than announced", "5\r\nhello!\r\n0\r\n\r\n"),
    ("a bare line feed behind the size", "5\nhello\r\n0\r\n\r\n"),
    (
        "an extension with a bare line feed",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
    ),
];

#[tokio::test]
async fn a_body_of_broken_chunks_never_becomes_a_request() {
    let (told, mut whole) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            while let Some((head, body)) = wire.next_request().await {
                if !body.whole {
                    return;
                }
                let _ = told.send(head.first);
                let _ = wire.send(OK).await;
            }
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut faults = Vec::new();
    for (what, body) in BROKEN_CHUNKS {
        let mut client = client_of(&proxy).await;
        let head = "POST /broken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut all = format!("{head}{body}").into_bytes();
        all.extend(request("GET", "/behind", &[], b""));
        client.send(all).await.unwrap();
        let (heard, _) = within(15, what, client.rest()).await;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        if !heard.is_empty() && !heard.starts_with("HTTP/1.1 400 ") {
            faults.push(format!("{what}: neither refused nor closed, but {heard:?}"));
        }
        while let Ok(request) = whole.try_recv() {
            faults.push(format!("{what}: the agent took {request:?} for whole"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn h2c_is_never_passed_on() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let fields = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    assert_eq!(response(&mut client, "GET").await.status, 200);
    let (head, _) = seen.next().await;
    for field in ["upgrade", "http2-settings"] {
        assert_eq!(head.field(field), None, "{head:?}");
    }
    assert!(!head.lists("connection", "upgrade"), "{head:?}");
}

#[tokio::test]
async fn http_2_by_prior_knowledge_is_not_spoken() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    // There is no common language in which to refuse.
    let (heard, end) = within(5, "the end", client.rest()).await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 400 "),
        "{heard:?}"
    );
    assert_eq!(end, End::Fin);
    assert!(seen.nothing(), "the agent saw it");
}

#[tokio::test]
async fn a_refused_upgrade_leaves_no_tunnel() {
    let (agent, mut seen) = answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send(request("GET", "/chat", &UPGRADE, b""))
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!((answer.status, answer.text()), (403, "no".to_owned()));
    assert!(seen.next().await.0.lists("upgrade", "websocket"));
    // What follows is read as HTTP and held to its rules, on its way to nobody.
    client
        .send("GET /tunnel HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await
        .unwrap();
    let (heard, _) = within(10, "the refusal", client.rest()).await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 400 "),
        "{heard}"
    );
    assert!(seen.nothing(), "there was a tunnel");
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_makes_no_tunnel() {
    let (agent, _seen) = answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nboo",
    );
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("GET", "/", &[], b"")).await.unwrap();
    assert_problem(&response(&mut client, "GET").await, 502);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let agent = Agent::scripted(|_, mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        let answer = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo much";
        let _ = wire.send(answer).await;
        // It reads no more, and does not close either.
        std::future::pending::<()>().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n")
        .await
        .unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let answered = async {
        loop {
            tokio::select! {
                // The agent reads nothing, so this will stall; the answer must come nevertheless.
                _ = client.stream.writable() => {
                    if client.stream.try_write(&piece).is_err() {
                        tokio::task::yield_now().await;
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            let mut heard = [0; 4096];
            if let Ok(count) = client.stream.try_read(&mut heard) {
                client.ahead.extend(&heard[..count]);
                return count;
            }
        }
    };
    assert!(
        within(10, "the early answer", answered).await > 0,
        "closed without an answer"
    );
    let answer = response(&mut client, "POST").await;
    assert_eq!((answer.status, answer.text()), (413, "too much".to_owned()));
}

#[tokio::test]
async fn an_early_answer_of_an_agent_that_closes_reaches_the_client() {
    let agent = Agent::scripted(|_, mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        let answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\
                      content-length: 8\r\n\r\ntoo much";
        let _ = wire.send(answer).await;
        wire.finish().await;
        // A polite end: it waits for the other side's.
        while wire.more().await {
            wire.ahead.clear();
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n";
    client.send(head).await.unwrap();
    client.send(vec![b'x'; 100_000]).await.unwrap();
    let answer = response(&mut client, "POST").await;
    assert_eq!((answer.status, answer.text()), (413, "too much".to_owned()));
}

#[tokio::test]
async fn an_agent_that_is_down_gives_502() {
    let vacancy = Vacancy::new();
    let proxy = Proxy::http(vacancy.addr()).start().await;
    let mut client = client_of(&proxy).await;
    for _ in 0..2 {
        client.send(request("GET", "/", &[], b"")).await.unwrap();
        assert_problem(&response(&mut client, "GET").await, 502);
    }
}

#[tokio::test]
async fn an_agent_that_closes_without_an_answer_gives_502() {
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.head().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("POST", "/", &[], b"x")).await.unwrap();
    assert_problem(&response(&mut client, "POST").await, 502);
}

#[tokio::test]
async fn an_agent_that_speaks_nonsense_gives_502() {
    let (agent, _seen) = answering("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("POST", "/", &[], b"x")).await.unwrap();
    assert_problem(&response(&mut client, "POST").await, 502);
}

#[tokio::test]
async fn an_agent_that_is_too_slow_gives_504() {
    let web = HttpAgent::start();
    let proxy = Proxy::builder()
        .listener_with(
            "web",
            "http",
            web.agent.addr,
            "response_timeout = \"300ms\"",
        )
        .start()
        .await;
    let mut client = client_of(&proxy).await;
    client
        .send(request("GET", "/hang", &[], b""))
        .await
        .unwrap();
    assert_problem(&response(&mut client, "GET").await, 504);
    assert_eq!(web.requests().len(), 1, "a late request is not asked again");
}

/// An agent that keeps connections, but closes each at its second request.
fn forgetful() -> (Agent, mpsc::UnboundedReceiver<(usize, Head)>) {
    let (told, seen) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |number, mut wire| {
        let told = told.clone();
        async move {
            for answers in [true, false] {
                let Some((head, _)) = wire.next_request().await else {
                    return;
                };
                let _ = told.send((number, head));
                if answers {
                    let _ = wire.send(OK).await;
                }
            }
        }
    });
    (agent, seen)
}

#[tokio::test]
async fn an_idempotent_request_on_a_stale_connection_is_sent_again() {
    let (agent, mut seen) = forgetful();
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    for path in ["/first", "/second"] {
        let answer = client.request("GET", path, &[], b"").await.unwrap();
        assert_eq!(
            (answer.status, answer.text()),
            (200, "ok".to_owned()),
            "{path}"
        );
    }
    let (mut heads, mut connections) = (Vec::new(), Vec::new());
    while let Ok((connection, head)) = seen.try_recv() {
        heads.push(head.first);
        connections.push(connection);
    }
    let expected = ["/first", "/second", "/second"].map(|path| format!("GET {path} HTTP/1.1"));
    assert_eq!(heads, expected);
    let kept_then_fresh = connections[0] == connections[1] && connections[1] != connections[2];
    assert!(kept_then_fresh, "{connections:?}");
}

#[tokio::test]
async fn a_post_on_a_stale_connection_is_not_repeated() {
    let (agent, mut seen) = forgetful();
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let first = client.request("GET", "/first", &[], b"").await.unwrap();
    assert_eq!(first.status, 200);
    client
        .send(request("POST", "/pay", &[], b"100"))
        .await
        .unwrap();
    let answer = response(&mut client, "POST").await;
    let mut posts = 0;
    while let Ok((_, head)) = seen.try_recv() {
        posts += usize::from(head.first.starts_with("POST"));
    }
    assert_eq!(posts, 1, "paid {posts} times");
    assert_problem(&answer, 502);
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_with_431() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "max_header_bytes", "\"16KiB\"")
        .set("http", "max_headers", "40")
        .start()
        .await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let many: String = (0..60).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    for head in [long, many] {
        let mut client = client_of(&proxy).await;
        // It may be refused before all of it is out.
        let _ = client.send(&head).await;
        assert_eq!(response(&mut client, "GET").await.status, 431);
        within(10, "the end", client.rest()).await;
    }
    assert!(seen.nothing(), "the agent saw one");
    let few: String = (0..30)
        .map(|n| format!("x-{n}: {}\r\n", "x".repeat(300)))
        .collect();
    let mut client = client_of(&proxy).await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{few}\r\n"))
        .await
        .unwrap();
    assert_eq!(
        response(&mut client, "GET").await.status,
        200,
        "within the limits"
    );
}

#[tokio::test]
async fn a_slow_head_ends_with_the_header_timeout() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "header_timeout", "\"500ms\"")
        .start()
        .await;
    for sent in ["", "GET / HTT", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut client = client_of(&proxy).await;
        client.send(sent).await.unwrap();
        let (heard, end) = within(5, "the end", client.rest()).await;
        let heard = String::from_utf8_lossy(&heard);
        assert_eq!(end, End::Fin, "{sent:?}");
        match sent {
            "" => assert_eq!(heard, "", "a silent connection just ends"),
            _ => assert!(heard.starts_with("HTTP/1.1 408 "), "{sent:?}: {heard:?}"),
        }
    }
    assert!(seen.nothing());
}

#[tokio::test]
async fn a_kept_connection_outlives_the_header_timeout() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "header_timeout", "\"300ms\"")
        .set("http", "idle_timeout", "\"1500ms\"")
        .start()
        .await;
    let mut client = client_of(&proxy).await;
    assert_eq!(
        client.request("GET", "/", &[], b"").await.unwrap().status,
        200
    );
    assert!(
        client.stays_silent(Duration::from_millis(800)).await,
        "closed too early"
    );
    assert_eq!(
        client.request("GET", "/", &[], b"").await.unwrap().status,
        200
    );
    assert_eq!(
        within(5, "the idle timeout", client.rest()).await,
        (vec![], End::Fin)
    );
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
    within(5, "the end", client.rest()).await;
    assert!(
        seen.next().await.0.first.ends_with("HTTP/1.1"),
        "the agent is spoken to in 1.1"
    );
}

#[tokio::test]
async fn bytes_right_behind_an_upgrade_arrive_in_both_directions() {
    let agent = Agent::scripted(|_, mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        assert_eq!(
            head.field("sec-websocket-protocol"),
            Some("chat, superchat")
        );
        assert_eq!(
            head.field("sec-websocket-key"),
            Some("dGhlIHNhbXBsZSBub25jZQ==")
        );
        let early = Frame::new(TEXT, "from the agent").plain();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\nsec-websocket-protocol: superchat\r\n\r\n"
        );
        let _ = wire.send([answer.as_bytes(), &early].concat()).await;
        let heard = Frame::read(&mut wire).await;
        let answer = heard.map(|frame| frame.payload).unwrap_or_default();
        let _ = wire
            .send(Frame::new(TEXT, [b"heard ", &answer[..]].concat()).plain())
            .await;
        wire.more().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let mut fields = UPGRADE.to_vec();
    fields.push(("sec-websocket-protocol", "chat, superchat"));
    let mut bytes = request("GET", "/", &fields, b"");
    bytes.extend(Frame::new(TEXT, "from the client").masked());
    client.send(bytes).await.unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.field("sec-websocket-protocol"), Some("superchat"));
    for expected in ["from the agent", "heard from the client"] {
        let frame = within(10, expected, Frame::read(&mut client))
            .await
            .expect("a frame");
        assert_eq!(String::from_utf8_lossy(&frame.payload), expected);
    }
}

#[tokio::test]
async fn compression_is_agreed_on_and_used_untouched() {
    let offer = "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame";
    let accepted = "permessage-deflate; server_no_context_takeover";
    let agent = Agent::scripted(move |_, mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        assert_eq!(head.all("sec-websocket-extensions"), [offer]);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\nsec-websocket-extensions: {accepted}\r\n\r\n"
        );
        let _ = wire.send(answer).await;
        while let Some(frame) = Frame::read(&mut wire).await {
            let _ = wire
                .send(
                    Frame {
                        masked: false,
                        ..frame
                    }
                    .plain(),
                )
                .await;
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let mut fields = UPGRADE.to_vec();
    fields.push(("sec-websocket-extensions", offer));
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!(answer.field("sec-websocket-extensions"), Some(accepted));
    let compressed = Frame {
        reserved: 0b100,
        ..Frame::new(TEXT, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00])
    };
    client.send(compressed.masked()).await.unwrap();
    let back = within(10, "the echo", Frame::read(&mut client))
        .await
        .expect("a frame");
    assert_eq!(back, compressed);
}
