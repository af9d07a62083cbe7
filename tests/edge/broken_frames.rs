//! Frames that break the protocol: what a client is told of them is what the agent says.

use std::net::SocketAddr;

use crate::harness::client::websocket;
use crate::harness::frames::{BINARY, CLOSE, CONTINUATION, Frame, PING, TEXT};
use crate::harness::python::PythonAgent;
use crate::harness::wire::End;
use crate::harness::{Proxy, within};

/// What a client sends, by the section of RFC 6455 that it breaks.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let text = Frame::new(TEXT, "00000000 fine").masked();
    let close = Frame::close(1000).masked();
    let reserved = |bits| Frame {
        reserved: bits,
        ..Frame::new(TEXT, "00000000")
    };
    let with = |parts: &[&[u8]]| parts.concat();
    vec![
        ("5.2: a reserved bit", reserved(2).masked()),
        ("5.2: all reserved bits", reserved(7).masked()),
        ("5.2: an opcode of data", Frame::new(0x3, "x").masked()),
        ("5.2: an opcode of control", Frame::new(0xb, "x").masked()),
        (
            "5.1: no mask",
            with(&[&text, &Frame::new(TEXT, "00000001").plain()]),
        ),
        (
            "5.2: a length in more bytes than it needs",
            with(&[&[0x81, 0xfe, 0, 3, 0, 0, 0, 0], b"00a", &close]),
        ),
        (
            "5.2: a length of 64 bits with the topmost set",
            with(&[&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], &text]),
        ),
        (
            "5.4: a continuation of nothing",
            Frame::new(CONTINUATION, "x").masked(),
        ),
        (
            "5.4: a message in a message",
            with(&[&Frame::part(TEXT, "00000000").masked(), &text]),
        ),
        ("5.5: a fragmented Ping", Frame::part(PING, "x").masked()),
        (
            "5.5: a long Ping",
            Frame::new(PING, vec![b'x'; 126]).masked(),
        ),
        (
            "5.5.1: a Close of one byte",
            Frame::new(CLOSE, "x").masked(),
        ),
        ("5.5.1: bytes behind a Close", with(&[&close, &text, &text])),
        (
            "7.4.1: a code that is never sent",
            Frame::close(1005).masked(),
        ),
        ("7.4.2: a code of nobody", Frame::close(999).masked()),
        (
            "8.1: no UTF-8",
            Frame::new(TEXT, b"00000000 \xc3\x28").masked(),
        ),
        (
            "8.1: no UTF-8 as the reason of a Close",
            Frame::new(CLOSE, b"\x03\xe8\xff\xff").masked(),
        ),
        ("no fault", with(&[&text, &text, &close])),
        ("an end in a frame", text[..9].to_vec()),
        (
            "a message of bytes, and an end",
            Frame::new(BINARY, "00000000").masked(),
        ),
    ]
}

/// All that is answered, to the end of the stream.
async fn answered(to: SocketAddr, name: &str, bytes: &[u8]) -> (Vec<u8>, End) {
    let mut wire = websocket::open(to, &format!("/echo/{name}")).await.unwrap();
    wire.send(bytes).await.unwrap();
    wire.finish().await;
    within(20, name, wire.rest()).await
}

#[tokio::test]
async fn an_agents_answer_to_broken_frames_reaches_the_client() {
    let Some(agent) = PythonAgent::start_for("broken frames").await else {
        return;
    };
    let proxy = Proxy::http(agent.addr).start().await;
    let all = hostile();
    for (n, (what, bytes)) in all.iter().enumerate() {
        let without = answered(agent.addr, &format!("direct-{n}"), bytes).await;
        let with = answered(proxy.addr("web"), &format!("proxy-{n}"), bytes).await;
        assert_eq!(with, without, "{what}");
    }
    let over = |scrape: &crate::harness::metrics::Scrape| scrape.open("") == 0.0;
    let scrape = proxy.metrics_until("all to end", over).await;
    scrape.check_balance().unwrap();
    let opened = scrape.sum("lameduck_sessions_opened_total", &[("kind", "websocket")]);
    assert_eq!(opened, all.len() as f64);
}
