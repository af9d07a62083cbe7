//! An answer of many messages, as a model streams its words, is heard to its end before the Close.

use std::time::Duration;

use tokio::time::interval;

use crate::drain_websocket::Session;
use crate::harness::frames::{Frame, TEXT};

/// Between two words of an answer.
const PACE: Duration = Duration::from_millis(20);

/// So many words of an answer.
async fn words(session: &mut Session, count: usize) {
    let mut pace = interval(PACE);
    for word in 0..count {
        pace.tick().await;
        let word = format!("word {word}");
        session.says_to_client(Frame::new(TEXT, word)).await;
    }
}

async fn question(session: &mut Session) {
    let question = Frame::new(TEXT, "a question");
    session.says_to_agent(question).await;
}

#[tokio::test]
async fn a_streamed_answer_is_not_ended_in_the_middle() {
    let mut session = Session::open(|proxy| proxy.window("16s")).await;
    for _ in 0..3 {
        question(&mut session).await;
        words(&mut session, 15).await;
        // A thought of the client's.
        let thought = Duration::from_millis(600);
        assert!(session.client.stays_silent(thought).await);
    }
    question(&mut session).await;
    words(&mut session, 10).await;
    session.proxy.terminate();
    // Some three seconds, most of them in the closing stretch.
    words(&mut session, 150).await;
    assert!(session.proxy.has_been("closing"));
    session.client_is_asked_to_go(1012).await;
    let answer = Frame::close(1012).masked();
    session.client.send(answer).await.unwrap();
    session.ends_in_order(1012).await;
}
