//! How a drain takes leave of raw TCP, which has no word for it: a FIN in a quiet moment, and time for
//! the last words.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::harness::agent::Agent;
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, within};

/// A session through the proxy, both ends in the test's hands, bytes gone both ways.
async fn session(window: &str) -> (Proxy, Agent, Wire, Wire) {
    let (told, mut wires) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            // A connection without a byte is a probe of the proxy's own.
            if wire.more().await {
                let _ = told.send(wire);
            }
        }
    });
    let proxy = Proxy::tcp(agent.addr)
        .window(window)
        .brief_lame_duck()
        .start()
        .await;
    let mut client = Wire::connect(proxy.addr("raw")).await.unwrap();
    client.send("hello").await.unwrap();
    let mut at_agent = within(10, "the connection at the agent", wires.recv())
        .await
        .unwrap();
    within(10, "a word", at_agent.exactly(5)).await.unwrap();
    at_agent.send("hello").await.unwrap();
    within(10, "a word", client.exactly(5)).await.unwrap();
    (proxy, agent, client, at_agent)
}

#[tokio::test]
async fn last_words_behind_the_fin_arrive() {
    let (proxy, _agent, mut client, mut at_agent) = session("8s").await;
    proxy.terminate();
    assert_eq!(
        within(20, "the FIN", client.rest()).await,
        (vec![], End::Fin)
    );
    client.send("my last words").await.unwrap();
    client.finish().await;
    let heard = within(20, "the end at the agent", at_agent.rest()).await;
    assert_eq!(heard, (b"my last words".to_vec(), End::Fin));
    at_agent.finish().await;
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
    assert_eq!(proxy.report()["kinds"]["tcp"]["outcomes"]["closed"], 1);
}

#[tokio::test]
async fn a_client_that_does_not_end_its_side_is_cut_and_named() {
    let (proxy, _agent, mut client, _at_agent) = session("4s").await;
    proxy.terminate();
    assert_eq!(
        within(20, "the FIN", client.rest()).await,
        (vec![], End::Fin)
    );
    assert_eq!(proxy.exit_within(10).await.code, Some(3));
    let cut = &proxy.report()["cut_sessions"][0];
    let client = client.stream.local_addr().unwrap().to_string();
    assert_eq!(cut["client"], client);
    assert_eq!(cut["why"], "the client did not end its side");
}

#[tokio::test]
async fn a_transfer_is_not_ended_in_the_middle() {
    let (proxy, _agent, mut client, mut at_agent) = session("10s").await;
    proxy.terminate();
    proxy.phase("closing").await;
    let begun = Instant::now();
    // Two seconds without a quiet moment, into the closing stretch.
    let piece = [5; 1000];
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let mut said = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        pace.tick().await;
        at_agent.send(piece).await.expect("the agent may speak");
        said += piece.len();
    }
    let (heard, end) = within(20, "the FIN", client.rest()).await;
    assert_eq!((heard.len(), end), (said, End::Fin));
    client.finish().await;
    within(20, "the end at the agent", at_agent.rest()).await;
    at_agent.finish().await;
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}

#[tokio::test]
async fn a_session_that_is_half_closed_may_hear_the_rest() {
    let (proxy, _agent, mut client, mut at_agent) = session("10s").await;
    client.finish().await;
    assert_eq!(
        within(10, "the FIN", at_agent.rest()).await,
        (vec![], End::Fin)
    );
    proxy.terminate();
    at_agent.send("the answer").await.unwrap();
    at_agent.finish().await;
    let heard = within(20, "the rest", client.rest()).await;
    assert_eq!(heard, (b"the answer".to_vec(), End::Fin));
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}
