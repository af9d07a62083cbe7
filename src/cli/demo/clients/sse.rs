//! A client that subscribes to server-sent events.

use std::io;

use http::StatusCode;
use http_body_util::BodyExt;

use super::http::{connect, get};
use super::{Client, Ended, Tally};
use crate::cli::demo::ledger::End;

/// The longest event that is waited for, in bytes.
const EVENT: usize = 64 * 1024;

/// Subscribes and listens until the stream ends.
pub(super) async fn session(client: &Client, tally: &mut Tally) -> Ended {
    let target = &client.common.targets.http;
    let opening = async {
        let mut connection = connect(target, &client.common.tasks).await?;
        let response = get(
            &mut connection,
            target,
            &format!("/events?id={}", client.id),
        )
        .await?;
        match response.status() {
            StatusCode::OK => Ok((connection, response.into_body())),
            status => Err(io::Error::other(format!("answered with {status}"))),
        }
    };
    // The connection is held until the stream has ended: to give it up would be to leave.
    let ((_connection, mut body), _opened) = match client.open(opening).await {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    let mut events = Events::default();
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    events.feed(data, tally);
                    if events.partial.len() > EVENT {
                        return Ended::torn("an event without end");
                    }
                }
                // Without its last chunk (RFC 9112 7.1), the stream was cut.
                Some(Err(error)) => return Ended::torn(format!("cut: {error}")),
                None if events.partial.is_empty() => return Ended::now(End::Event),
                None => return Ended::torn("ended inside an event"),
            },
            () = client.common.stop.cancelled() => return Ended::now(End::Left),
        }
    }
}

/// The stream, cut into events.
#[derive(Default)]
struct Events {
    partial: Vec<u8>,
}

impl Events {
    /// Takes what came, and notes each event that is whole with it.
    fn feed(&mut self, bytes: &[u8], tally: &mut Tally) {
        for byte in bytes {
            self.partial.push(*byte);
            if self.partial.ends_with(b"\n\n") {
                note(&String::from_utf8_lossy(&self.partial), tally);
                self.partial.clear();
            }
        }
    }
}

/// Notes an event. A block without data is none: comments, or a `retry:` alone (WHATWG HTML,
/// 9.2.6).
fn note(block: &str, tally: &mut Tally) {
    let field = |name| block.lines().find_map(|line: &str| line.strip_prefix(name));
    let Some(data) = field("data: ") else { return };
    match field("id: ").and_then(|id| id.parse().ok()) {
        Some(number) if data == format!("event {number}") => tally.received.note(number),
        _ => tally.received.damaged(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_any_split_and_others_are_not_counted() {
        let stream = b": hello\n\nid: 1\ndata: event 1\n\nretry: 3000\n\nid: 2\ndata: event 2\n\n";
        for size in 1..=stream.len() {
            let mut events = Events::default();
            let mut tally = Tally::default();
            stream
                .chunks(size)
                .for_each(|chunk| events.feed(chunk, &mut tally));
            assert_eq!(tally.received.count(), 2, "in pieces of {size}");
            assert!(events.partial.is_empty());
        }
    }

    #[test]
    fn half_an_event_remains_and_a_damaged_one_does_not_count() {
        let mut events = Events::default();
        let mut tally = Tally::default();
        events.feed(b"id: 1\ndata: event 2\n\nid: 2\ndata: eve", &mut tally);
        assert_eq!(tally.received.count(), 0);
        assert!(!events.partial.is_empty());
    }
}
