//! How the ends of a WebSocket are told apart, by a server that is made for each.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_util::sync::CancellationToken;

use super::*;

type Server = WebSocketStream<DuplexStream>;

/// The end of a session that the server takes from the handshake to the last byte.
async fn end_of<F>(traffic: Traffic, server: impl FnOnce(Server) -> F) -> (Ended, Tally)
where
    F: Future,
{
    let client = Client::lonely(traffic, CancellationToken::new());
    let (near, far) = duplex(4096);
    let mut tally = Tally::default();
    let client_side = async {
        let socket = shake_hands(&client, near).await.expect("a handshake");
        talk(&client, socket, &mut tally).await
    };
    let server_side = async {
        server(accept_async(far).await.expect("a handshake")).await;
    };
    let both = async { tokio::join!(client_side, server_side) };
    let (ended, ()) = timeout(PATIENCE * 3, both).await.expect("an end");
    (ended, tally)
}

async fn close(server: &mut Server, code: u16) {
    let close = CloseFrame {
        code: code.into(),
        reason: "".into(),
    };
    server
        .close(Some(close))
        .await
        .expect("a Close that goes out");
}

/// Reads to the end, as the library needs it to be done for the Closes.
async fn read_out(mut server: Server) {
    while let Some(Ok(_)) = server.next().await {}
}

#[tokio::test(start_paused = true)]
async fn a_close_between_messages_is_clean() {
    let (ended, tally) = end_of(Traffic::Push, |mut server| async move {
        for number in 1..=2 {
            server
                .send(Message::text(message::numbered(number)))
                .await
                .expect("sent");
        }
        close(&mut server, 1012).await;
        read_out(server).await;
    })
    .await;
    assert_eq!(ended.end, End::Closed(1012));
    assert_eq!(tally.received.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_inside_a_message_is_seen() {
    let (ended, tally) = end_of(Traffic::Push, |mut server| async move {
        let half = Frame::message(Bytes::from_static(b"#1"), OpCode::Data(Data::Text), false);
        server.send(Message::Frame(half)).await.expect("sent");
        close(&mut server, 1012).await;
        read_out(server).await;
    })
    .await;
    assert_eq!(
        ended.end,
        End::Torn("Close 1012 inside a message".to_owned())
    );
    assert_eq!(tally.received.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_close_is_torn() {
    let (ended, _) = end_of(Traffic::Push, |mut server| async move {
        server.get_mut().shutdown().await.expect("shut");
    })
    .await;
    assert!(!ended.end.is_clean());
    assert!(
        ended.end.words().contains("no Close"),
        "{}",
        ended.end.words()
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_left_open_after_its_close_is_torn() {
    let (ended, _) = end_of(Traffic::Push, |mut server| async move {
        close(&mut server, 1001).await;
        tokio::time::sleep(PATIENCE * 2).await;
    })
    .await;
    let torn = "Close 1001, but the connection was left open";
    assert_eq!(ended.end, End::Torn(torn.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_something_else_is_wrong() {
    let (_, tally) = end_of(Traffic::Chat, |mut server| async move {
        let Some(Ok(Message::Text(text))) = server.next().await else {
            panic!("no message")
        };
        server
            .send(Message::text(message::answer(1, &text)))
            .await
            .expect("sent");
        let Some(Ok(Message::Text(_))) = server.next().await else {
            panic!("no message")
        };
        server
            .send(Message::text(message::answer(2, &text)))
            .await
            .expect("sent");
        close(&mut server, 1012).await;
        read_out(server).await;
    })
    .await;
    assert_eq!(tally.received.count(), 1);
    assert!(tally.sent.count() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_hears_what_was_under_way() {
    let stop = CancellationToken::new();
    let client = Client::lonely(Traffic::Push, stop.clone());
    let (near, far) = duplex(4096);
    let mut tally = Tally::default();
    let server_side = async {
        let mut server = accept_async(far).await.expect("a handshake");
        stop.cancel();
        // Until its Close is read, messages can still be sent.
        server
            .send(Message::text(message::numbered(1)))
            .await
            .expect("sent");
        read_out(server).await;
    };
    let client_side = async {
        let socket = shake_hands(&client, near).await.expect("a handshake");
        talk(&client, socket, &mut tally).await
    };
    let both = async { tokio::join!(client_side, server_side) };
    let (ended, ()) = timeout(PATIENCE, both).await.expect("an end");
    assert_eq!(ended.end, End::Left);
    assert_eq!(tally.received.count(), 1);
}
