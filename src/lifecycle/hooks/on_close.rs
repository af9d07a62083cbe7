//! The notice that sessions are asked to go: one call at a time, and what comes meanwhile goes into
//! the next.

use std::collections::VecDeque;
use std::pin::pin;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::config::HookUrl;
use crate::session::{Facts, Holding, Roster};

use super::call::Failed;

/// The most sessions that wait for their call; an agent that is so far behind has lost its chance
/// to do anything for the oldest.
const MOST: usize = 10_000;

/// The body of a call.
#[derive(Serialize)]
struct Notice<'a> {
    sessions: Vec<Asked<'a>>,
}

/// A session that is asked to go.
#[derive(Serialize)]
struct Asked<'a> {
    id: String,
    listener: String,
    kind: &'static str,
    client: String,
    key: Option<&'a str>,
}

fn body(facts: &[Facts], roster: &Roster) -> Bytes {
    let sessions = facts.iter().filter_map(|facts| {
        let Holding::Session(kind) = facts.holding else {
            return None;
        };
        Some(Asked {
            id: facts.id.to_string(),
            listener: roster.name(facts.listener),
            kind: kind.label(),
            client: facts.client.to_string(),
            key: facts.key.as_deref(),
        })
    });
    let notice = Notice {
        sessions: sessions.collect(),
    };
    Bytes::from(serde_json::to_vec(&notice).unwrap_or_default())
}

/// Those that wait for the next call.
#[derive(Default)]
struct Waiting {
    sessions: VecDeque<Facts>,
    dropped: usize,
}

impl Waiting {
    fn add(&mut self, facts: Vec<Facts>) {
        self.sessions.extend(facts);
        let over = self.sessions.len().saturating_sub(MOST);
        self.sessions.drain(..over);
        self.dropped += over;
    }

    /// The next call's, and how many have been dropped before them.
    fn take(&mut self) -> (Vec<Facts>, usize) {
        let sessions = std::mem::take(&mut self.sessions);
        (sessions.into(), std::mem::take(&mut self.dropped))
    }
}

/// Calls with those that are asked to go, until the drain has gone and all have been told.
pub(super) async fn run<P>(
    mut asked: mpsc::UnboundedReceiver<Vec<Facts>>,
    roster: Roster,
    url: HookUrl,
    post: impl Fn(HookUrl, Bytes) -> P,
) where
    P: Future<Output = Result<Bytes, Failed>>,
{
    let mut waiting = Waiting::default();
    let mut drain_is_there = true;
    // An agent that is gone would have a line in the log for every tick of the drain.
    let mut failing = false;
    loop {
        if waiting.sessions.is_empty() {
            match asked.recv().await {
                Some(facts) => waiting.add(facts),
                None => return,
            }
        }
        let (facts, dropped) = waiting.take();
        if dropped > 0 {
            tracing::warn!(hook = "on_close", %url, dropped, "hook is too slow to hear of all sessions");
        }
        let mut call = pin!(post(url.clone(), body(&facts, &roster)));
        let answer = loop {
            tokio::select! {
                answer = &mut call => break answer,
                more = asked.recv(), if drain_is_there => match more {
                    Some(facts) => waiting.add(facts),
                    None => drain_is_there = false,
                },
            }
        };
        let failed_before = std::mem::replace(&mut failing, answer.is_err());
        if let (Err(error), false) = (answer, failed_before) {
            tracing::warn!(hook = "on_close", %url, %error, "hook failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::config::{Endpoint, ListenerName};
    use crate::session::{Home, Kind, ListenerIndex, SessionId, WorkerIndex};

    fn session(slot: usize) -> Facts {
        Facts {
            endpoint: None,
            id: SessionId::new(WorkerIndex(0), Home::Pump, slot, 0),
            listener: ListenerIndex(0),
            holding: Holding::Session(Kind::Websocket),
            client: ([127, 0, 0, 1], 7).into(),
            key: Some("anna".into()),
            age: Duration::ZERO,
            idle: [Duration::ZERO; 2],
            bytes: [0; 2],
            messages: [0; 2],
            asked: false,
        }
    }

    fn roster() -> Roster {
        Roster::new([ListenerName("chat".into())])
    }

    fn url() -> HookUrl {
        HookUrl {
            authority: Endpoint("127.0.0.1:1".into()),
            path: "/".into(),
        }
    }

    #[test]
    fn a_notice_names_sessions_and_their_clients() {
        let id = session(0).id.to_string();
        let notice: Value = serde_json::from_slice(&body(&[session(0)], &roster())).unwrap();
        let expected = serde_json::json!({"sessions": [{
            "id": id, "listener": "chat", "kind": "websocket",
            "client": "127.0.0.1:7", "key": "anna",
        }]});
        assert_eq!(notice, expected);
    }

    #[test]
    fn the_oldest_of_too_many_are_dropped_and_counted() {
        let mut waiting = Waiting::default();
        waiting.add((0..MOST).map(session).collect());
        waiting.add((MOST..MOST + 3).map(session).collect());
        let (sessions, dropped) = waiting.take();
        assert_eq!((sessions.len(), dropped), (MOST, 3));
        assert_eq!(sessions[0].id.slot(), 3);
        assert_eq!(waiting.take().1, 0);
    }

    /// What each call told, in sessions, when each takes a second; `tells` are a tick apart.
    async fn told(tells: usize, answer: fn() -> Result<Bytes, Failed>) -> Vec<usize> {
        let (tell, asked) = mpsc::unbounded_channel();
        let calls = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&calls);
        let post = move |_, body: Bytes| {
            let notice: Value = serde_json::from_slice(&body).unwrap();
            let count = notice["sessions"].as_array().map_or(0, Vec::len);
            noted.borrow_mut().push(count);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                answer()
            }
        };
        let drain = async {
            for slot in 0..tells {
                tell.send(vec![session(slot)]).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(tell);
        };
        tokio::join!(run(asked, roster(), url(), post), drain);
        calls.take()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_during_a_call_is_in_the_next() {
        let calls = told(100, || Ok(Bytes::new())).await;
        // Two seconds of tells, and a call takes one: the first has one of them, the next what came
        // during it, and the last the rest.
        assert_eq!((calls.len(), calls[0]), (3, 1), "{calls:?}");
        assert_eq!(calls.iter().sum::<usize>(), 100, "{calls:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_fails_is_called_all_the_same() {
        let calls = told(3, || Err(Failed::Status(http::StatusCode::NOT_FOUND))).await;
        assert_eq!(calls, [1, 2]);
    }
}
