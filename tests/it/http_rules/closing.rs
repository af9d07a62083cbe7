//! How connections end: with the proxy's FIN, and the client's time to read what came before it.

use crate::harness::agent::Agent;
use crate::harness::client::websocket::{ACCEPT, UPGRADE};
use crate::harness::frames::{Frame, TEXT};
use crate::harness::wire::{End, request};
use crate::harness::{Proxy, within};

use super::{OK, answering, client_of, response};

const LAST: [(&str, &str); 1] = [("connection", "close")];

#[tokio::test]
async fn who_does_not_end_its_side_is_left_behind_the_last_answer() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("GET", "/", &LAST, b"")).await.unwrap();
    assert_eq!(response(&mut client, "GET").await.status, 200);
    within(10, "the proxy's FIN", client.rest()).await;
    assert_eq!(client.end, Some(End::Fin));
    // The client stays, and says nothing.
    let open = [("listener", "web")];
    proxy
        .metrics_until("nothing to be open", |scrape| {
            scrape.sum("lameduck_connections_open", &open) == 0.0
        })
        .await;
}

#[tokio::test]
async fn who_goes_on_sending_reads_its_answer_before_it_is_left() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("GET", "/", &LAST, b"")).await.unwrap();
    // More than the sockets between hold, and never read as a request.
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..64 {
        if client.send(&piece).await.is_err() {
            break;
        }
    }
    assert_eq!(response(&mut client, "GET").await.status, 200);
}

/// Its request is not the last that it says.
#[tokio::test]
async fn an_upgrade_with_connection_close_makes_a_tunnel() {
    let agent = Agent::scripted(|_, mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\n\r\n"
        );
        let _ = wire.send(answer).await;
        let heard = Frame::read(&mut wire).await.expect("a frame");
        let _ = wire.send(heard.plain()).await;
        wire.more().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let fields = UPGRADE.map(|(name, value)| match name {
        "connection" => (name, "close, upgrade"),
        _ => (name, value),
    });
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    assert_eq!(response(&mut client, "GET").await.status, 101);
    let word = Frame::new(TEXT, "still here");
    client.send(word.masked()).await.unwrap();
    let echo = within(10, "the echo", Frame::read(&mut client)).await;
    assert_eq!(echo.expect("a frame").payload, word.payload);
}
