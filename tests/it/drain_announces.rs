//! The text message that tells a client to come back, some time before its Close; and how long a
//! session waits for a good moment.

use std::time::{Duration, Instant};

use crate::drain_websocket::Session;
use crate::harness::frames::{BINARY, CONTINUATION, Frame, TEXT};
use crate::harness::proxy::Builder;
use crate::harness::within;

const TEMPLATE: &str = r#"'{"type":"go","in":{in_ms},"close":{close_in_ms},"x":{}}'"#;

/// A listener that announces a Close so long before.
fn announcing(window: &'static str, ahead: &'static str) -> impl FnOnce(Builder) -> Builder {
    move |proxy| {
        proxy
            .window(window)
            .drain("close_order", "\"client\"")
            .drain("margin", "\"500ms\"")
            .drain("websocket_announce", TEMPLATE)
            .drain("websocket_announce_ahead", &format!("\"{ahead}\""))
    }
}

/// The numbers in an announcement: when to come back, and when the Close comes.
fn numbers(frame: &Frame) -> (u64, u64) {
    assert!(
        frame.opcode == TEXT && frame.last && !frame.masked,
        "{frame:?}"
    );
    let told: serde_json::Value = serde_json::from_slice(&frame.payload).expect("JSON");
    assert_eq!(
        (&told["type"], &told["x"]),
        (&"go".into(), &serde_json::json!({}))
    );
    (
        told["in"].as_u64().unwrap(),
        told["close"].as_u64().unwrap(),
    )
}

/// The Close at the client comes no sooner than it was told, counted from here.
async fn close_comes_after(session: &mut Session, close_in: u64) {
    let told = Instant::now();
    session.client_is_asked_to_go(1012).await;
    let waited = told.elapsed();
    // Both ends of the time are seen late, the first perhaps more so.
    let least = Duration::from_millis(close_in) * 3 / 4;
    assert!(waited >= least, "{waited:?} of {close_in} ms");
}

#[tokio::test]
async fn a_quiet_client_is_told_before_its_close() {
    let mut session = Session::open(announcing("10s", "2s")).await;
    session.proxy.terminate();
    let (back_in, close_in) = numbers(&session.client_hears().await.expect("a text"));
    assert_eq!(close_in, 2_000);
    assert!((1_000..=2_000).contains(&back_in), "{back_in}");
    close_comes_after(&mut session, close_in).await;
    let answer = Frame::close(1012).masked();
    session.client.send(answer).await.unwrap();
    // Nothing of it has gone to the agent, whose first frame is the Close.
    session.ends_in_order(1012).await;
}

#[tokio::test]
async fn a_client_that_knows_it_leaves_by_itself_and_counts_as_closed() {
    let mut session = Session::open(announcing("10s", "3s")).await;
    session.proxy.terminate();
    numbers(&session.client_hears().await.expect("a text"));
    session
        .says_to_agent(Frame::new(TEXT, "one more thing"))
        .await;
    session.says_to_client(Frame::new(TEXT, "certainly")).await;
    session.says_to_agent(Frame::close(1000)).await;
    session.says_to_client(Frame::close(1000)).await;
    session.agent.finish().await;
    let end = within(10, "the end at the client", session.client.rest()).await;
    assert_eq!(end.0, b"");
    session.client.finish().await;
    let end = within(10, "the end at the agent", session.agent.rest()).await;
    assert_eq!(end.0, b"", "no Close of ours behind the client's own");
    assert_eq!(session.proxy.exit_within(10).await.code, Some(0));
    let outcomes = &session.proxy.report()["kinds"]["websocket"]["outcomes"];
    assert_eq!(
        (&outcomes["closed"], &outcomes["finished"]),
        (&1.into(), &0.into())
    );
}

#[tokio::test]
async fn it_stands_between_two_messages() {
    let mut session = Session::open(announcing("12s", "1s")).await;
    session
        .says_to_client(Frame::part(TEXT, "a message in "))
        .await;
    session.proxy.terminate();
    session.proxy.phase("closing").await;
    let nothing = Duration::from_millis(300);
    assert!(
        session.client.stays_silent(nothing).await,
        "inside a message"
    );
    // The end of it and the beginning of the next come in one piece.
    let (end, next) = (
        Frame::new(CONTINUATION, "parts"),
        Frame::new(BINARY, vec![7; 900]),
    );
    let next_bytes = next.plain();
    let (first, second) = next_bytes.split_at(300);
    let piece = [&end.plain()[..], first].concat();
    session.agent.send(piece).await.unwrap();
    assert_eq!(session.client_hears().await, Some(end));
    let (_, close_in) = numbers(&session.client_hears().await.expect("a text"));
    session.agent.send(second).await.unwrap();
    assert_eq!(session.client_hears().await, Some(next));
    close_comes_after(&mut session, close_in).await;
    let answer = Frame::close(1012).masked();
    session.client.send(answer).await.unwrap();
    session.ends_in_order(1012).await;
}

#[tokio::test]
async fn where_little_time_is_left_it_takes_half_of_it() {
    let mut session = Session::open(announcing("8s", "1m")).await;
    session.proxy.terminate();
    let (back_in, close_in) = numbers(&session.client_hears().await.expect("a text"));
    assert!((1_000..=3_500).contains(&close_in), "{close_in}");
    assert!(
        (close_in / 2..=close_in).contains(&back_in),
        "{back_in} of {close_in}"
    );
    close_comes_after(&mut session, close_in).await;
    let answer = Frame::close(1012).masked();
    session.client.send(answer).await.unwrap();
    session.ends_in_order(1012).await;
}

#[tokio::test]
async fn a_stream_that_breaks_framing_is_told_nothing() {
    let mut session = Session::open(announcing("6s", "1s")).await;
    let nonsense = [0xb3, 0x7f, 0xff];
    session.agent.send(nonsense).await.unwrap();
    let got = within(10, "the nonsense", session.client.exactly(nonsense.len())).await;
    assert_eq!(got.as_deref(), Some(&nonsense[..]));
    session.proxy.terminate();
    let (heard, _) = within(10, "the end", session.client.rest()).await;
    assert_eq!(heard, b"");
    let exit = session.proxy.exit_within(10).await;
    assert!(matches!(exit.code, Some(0 | 3)), "{exit:?}");
}

#[tokio::test]
async fn an_answer_that_is_due_is_waited_for_no_longer_than_patience() {
    let patient = |patience: &'static str| {
        move |proxy: Builder| {
            proxy
                .window("14s")
                .drain("close_order", "\"client\"")
                .drain("close_patience", &format!("\"{patience}\""))
        }
    };
    let mut session = Session::open(patient("500ms")).await;
    session.says_to_agent(Frame::new(TEXT, "a question")).await;
    session.proxy.terminate();
    session.proxy.phase("closing").await;
    let closing = Instant::now();
    session.client_is_asked_to_go(1012).await;
    let waited = closing.elapsed();
    let (least, most) = (Duration::from_millis(250), Duration::from_millis(1_500));
    assert!((least..most).contains(&waited), "{waited:?}");
    let answer = Frame::close(1012).masked();
    session.client.send(answer).await.unwrap();
    session.ends_in_order(1012).await;
}
