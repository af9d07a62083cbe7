//! What could be read two ways, or not at all, is refused.

use tokio::sync::mpsc;

use crate::harness::agent::Agent;
use crate::harness::wire::request;
use crate::harness::{Proxy, within};

use super::{OK, answering, client_of};

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
