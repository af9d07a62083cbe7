//! The largest WebSocket message: 1009 to both sides, in the place of the frame that is too much.

use crate::harness::agent::Agent;
use crate::harness::client::websocket;
use crate::harness::frames::{BINARY, CLOSE, CONTINUATION, Frame, PING, TEXT};
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, within};
use crate::scene::{all_refused, proxy, refused};

const LIMIT: &str = "[limits]\nmax_websocket_message = \"1000B\"";

/// An agent that takes any WebSocket, shows what it receives and says what it is told to.
fn puppet(says: Vec<u8>) -> (Agent, tokio::sync::mpsc::UnboundedReceiver<Frame>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let (tell, says) = (tell.clone(), says.clone());
        async move {
            // A connection without a byte is a probe.
            if wire.head().await.is_none() {
                return;
            }
            let accept = websocket::ACCEPT;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept}\r\n\r\n"
            );
            wire.send(answer).await.unwrap();
            wire.send(says).await.unwrap();
            while let Some(frame) = Frame::read(&mut wire).await {
                let code = frame.close_code();
                let is_close = frame.opcode == CLOSE;
                let _ = tell.send(frame);
                if is_close {
                    let _ = wire.send(Frame::close(code.unwrap_or(1000)).plain()).await;
                    return;
                }
            }
        }
    });
    (agent, told)
}

async fn frame(wire: &mut Wire) -> Frame {
    within(10, "a frame", Frame::read(wire))
        .await
        .expect("a frame")
}

async fn over(proxy: &Proxy, count: f64) {
    let scrape = proxy
        .metrics_until("the sessions to end", |s| s.open("") == 0.0)
        .await;
    assert_eq!(refused(&scrape, "max_websocket_message"), count);
    assert_eq!(all_refused(&scrape), count);
    scrape.check_balance().unwrap();
}

#[tokio::test]
async fn messages_up_to_the_limit_pass_however_they_are_cut() {
    let (agent, mut told) = puppet(Vec::new());
    let proxy = proxy("http", agent.addr, "", LIMIT).await;
    let mut wire = websocket::open(proxy.addr("door"), "/any").await.unwrap();
    let frames = [
        Frame::new(BINARY, vec![1; 1000]),
        Frame::part(TEXT, vec![b'a'; 400]),
        Frame::new(PING, vec![2; 125]),
        Frame::part(CONTINUATION, vec![b'b'; 300]),
        Frame::new(CONTINUATION, vec![b'c'; 300]),
        Frame::new(TEXT, vec![b'd'; 1000]),
        Frame::new(TEXT, b""),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::masked).collect();
    for byte in &bytes {
        wire.send([*byte]).await.unwrap();
    }
    wire.send(&bytes).await.unwrap();
    for wanted in frames.iter().chain(&frames) {
        let came = within(10, "a frame", told.recv()).await.unwrap();
        assert_eq!(
            (came.opcode, &came.payload),
            (wanted.opcode, &wanted.payload)
        );
    }
    wire.send(Frame::close(1000).masked()).await.unwrap();
    assert_eq!(frame(&mut wire).await.close_code(), Some(1000));
    drop(wire);
    over(&proxy, 0.0).await;
}

#[tokio::test]
async fn a_client_that_says_too_much_gets_1009_and_so_does_the_agent() {
    let (agent, mut told) = puppet(Vec::new());
    let proxy = proxy("http", agent.addr, "", LIMIT).await;
    let whole = |length: usize| vec![Frame::new(BINARY, vec![7; length])];
    let cases = [
        whole(1001),
        whole(100_000),
        vec![
            Frame::part(TEXT, vec![b'a'; 600]),
            Frame::new(PING, vec![2; 125]),
            Frame::new(CONTINUATION, vec![b'b'; 401]),
        ],
    ];
    let mut count = 0.0;
    for frames in &cases {
        for piecewise in [false, true] {
            let mut wire = websocket::open(proxy.addr("door"), "/any").await.unwrap();
            let before = Frame::new(TEXT, b"before".to_vec());
            let mut bytes = before.masked();
            bytes.extend(frames.iter().flat_map(Frame::masked));
            if piecewise {
                // The header that is too much comes cut.
                for chunk in bytes.chunks(3) {
                    if wire.send(chunk).await.is_err() {
                        break;
                    }
                }
            } else {
                wire.send(&bytes).await.unwrap();
            }
            assert_eq!(frame(&mut wire).await.close_code(), Some(1009));
            let _ = wire.send(Frame::close(1009).masked()).await;
            wire.finish().await;
            let came = within(10, "a frame", told.recv()).await.unwrap();
            assert_eq!(came.payload, b"before");
            for wanted in &frames[..frames.len() - 1] {
                let came = within(10, "a frame", told.recv()).await.unwrap();
                assert_eq!(
                    (came.opcode, &came.payload),
                    (wanted.opcode, &wanted.payload)
                );
            }
            let close = within(10, "a Close", told.recv()).await.unwrap();
            assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(1009)));
            count += 1.0;
            over(&proxy, count).await;
        }
    }
}

/// However slowly: its Close stands behind it.
#[tokio::test]
async fn what_is_left_of_a_refused_message_is_read_to_its_end() {
    let (agent, _told) = puppet(Vec::new());
    let proxy = proxy("http", agent.addr, "", LIMIT).await;
    let mut wire = websocket::open(proxy.addr("door"), "/any").await.unwrap();
    let large = Frame::new(BINARY, vec![7; 1 << 20]).masked();
    wire.send(&large).await.unwrap();
    assert_eq!(frame(&mut wire).await.close_code(), Some(1009));
    wire.send(Frame::close(1009).masked()).await.unwrap();
    assert_eq!(within(10, "the end", wire.rest()).await, (vec![], End::Fin));
    over(&proxy, 1.0).await;
    let scrape = proxy.scrape().await.unwrap();
    let undelivered = scrape.sum("lameduck_undelivered_bytes_total", &[]);
    assert_eq!(undelivered, large.len() as f64, "all but the Close");
}

#[tokio::test]
async fn an_agent_that_says_too_much_gets_1009_and_so_does_the_client() {
    let before = Frame::part(TEXT, vec![b'a'; 999]).plain();
    let says = [before, Frame::new(CONTINUATION, vec![b'b'; 2]).plain()].concat();
    let (agent, mut told) = puppet(says);
    let proxy = proxy("http", agent.addr, "", LIMIT).await;
    let mut wire = websocket::open(proxy.addr("door"), "/any").await.unwrap();
    let first = frame(&mut wire).await;
    assert_eq!((first.last, first.payload.len()), (false, 999));
    let close = frame(&mut wire).await;
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(1009)));
    wire.send(Frame::close(1009).masked()).await.unwrap();
    let close = within(10, "a Close", told.recv()).await.unwrap();
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(1009)));
    over(&proxy, 1.0).await;
}

#[tokio::test]
async fn the_sender_is_told_between_two_messages_of_the_other() {
    // The agent is in the middle of a message, and ends it when it hears of the Close.
    let (agent, mut told) = puppet(Frame::part(TEXT, b"half".to_vec()).plain());
    let proxy = proxy("http", agent.addr, "", LIMIT).await;
    let mut wire = websocket::open(proxy.addr("door"), "/any").await.unwrap();
    assert_eq!(frame(&mut wire).await.payload, b"half");
    wire.send(Frame::new(BINARY, vec![7; 1001]).masked())
        .await
        .unwrap();
    let close = within(10, "a Close", told.recv()).await.unwrap();
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(1009)));
    let close = frame(&mut wire).await;
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(1009)));
    wire.send(Frame::close(1009).masked()).await.unwrap();
    over(&proxy, 1.0).await;
}
