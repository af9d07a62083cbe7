//! How connections end: with the proxy's FIN, and the client's time to read what came before it.

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
