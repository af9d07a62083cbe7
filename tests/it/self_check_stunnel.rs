//! That a relay over OpenSSL hides nothing: who ended without a close_notify is told, and what one
//! side says after the end of the other arrives.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::harness::agent::Agent;
use crate::harness::secured::Certified;
use crate::harness::stunnel::{self, Stunnel};
use crate::harness::wire::{End, Wire};
use crate::harness::within;

/// Ends in the way that it is told in a line.
fn server(certified: &Certified) -> Agent {
    let acceptor = TlsAcceptor::from(certified.server());
    Agent::start(move |_, socket| {
        let acceptor = acceptor.clone();
        async move {
            let mut tls = acceptor.accept(socket).await.unwrap();
            let mut way = [0; 6];
            tls.read_exact(&mut way).await.unwrap();
            match &way {
                b"notify" => {
                    tls.shutdown().await.unwrap();
                    let mut last = String::new();
                    tls.read_to_string(&mut last).await.unwrap();
                    assert_eq!(last, "last words");
                }
                b"answer" => {
                    let mut last = String::new();
                    tls.read_to_string(&mut last).await.unwrap();
                    tls.write_all(last.as_bytes()).await.unwrap();
                    tls.shutdown().await.unwrap();
                }
                b"silent" => {}
                b"reset." => tls.get_ref().0.set_zero_linger().unwrap(),
                other => panic!("{other:?}"),
            }
        }
    })
}

async fn client(relay: &Stunnel, way: &str) -> Wire {
    let mut wire = Wire::connect(relay.addr).await.unwrap();
    wire.send(way).await.unwrap();
    wire
}

#[tokio::test]
async fn last_words_go_both_ways_and_an_end_without_a_close_notify_is_told() {
    if !stunnel::is_there_for("the self-check of stunnel") {
        return;
    }
    let certified = Certified::new();
    let agent = server(&certified);
    let relay = certified.before_with_openssl(agent.addr);

    let mut wire = client(&relay, "notify").await;
    let end = within(20, "a close_notify", wire.rest()).await;
    assert_eq!(end, (vec![], End::Fin));
    wire.send("last words").await.unwrap();
    wire.finish().await;

    let mut wire = client(&relay, "answer").await;
    wire.send("a question").await.unwrap();
    wire.finish().await;
    let end = within(20, "an answer", wire.rest()).await;
    assert_eq!(end, (b"a question".to_vec(), End::Fin));

    let ends = within(20, "the ends", relay.ends()).await;
    assert_eq!((ends.connections, ends.torn.len()), (2, 0), "{ends:?}");

    // What is seen of these in plain says nothing, which is why the log is asked.
    for way in ["silent", "reset."] {
        let mut wire = client(&relay, way).await;
        within(20, "an end", wire.rest()).await;
    }
    let ends = within(20, "the ends", relay.ends()).await;
    assert_eq!((ends.connections, ends.torn.len()), (4, 2), "{ends:?}");
}
