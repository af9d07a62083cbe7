//! How a session's two sides talk.

use std::time::Duration;

use super::client::Style;

/// A sort of WebSocket session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The client asks, waits for the answer, and thinks before it asks again.
    Asker,
    /// The agent speaks unasked; the client is silent, or speaks rarely.
    Pusher,
    /// The client asks at a steady rhythm, whether or not it was answered.
    Beater,
    /// Both speak unasked.
    Chatter,
}

impl Sort {
    /// All of them.
    pub const ALL: [Sort; 4] = [Sort::Asker, Sort::Pusher, Sort::Beater, Sort::Chatter];

    /// Whether each message of the client wants an answer.
    pub fn is_answered(self) -> bool {
        matches!(self, Sort::Asker | Sort::Beater)
    }

    /// What the agent is asked for, and what the client does: 2 to 50 messages a second.
    pub fn manners(self, n: usize, name: &str) -> (String, Style) {
        let millis = Duration::from_millis;
        match self {
            Sort::Asker => (
                format!("/echo/{name}"),
                Style::Think(millis(50), millis(500)),
            ),
            Sort::Pusher => {
                let parts = if n % 4 == 3 { "&parts=1" } else { "" };
                let every = per_second(2, 50).as_millis();
                let style = match n % 3 {
                    0 => Style::Chat(millis(fastrand::u64(1_500..4_000))),
                    _ => Style::Listen,
                };
                (format!("/chat/{name}?every={every}{parts}"), style)
            }
            Sort::Beater => (format!("/echo/{name}"), Style::Chat(per_second(2, 10))),
            Sort::Chatter => {
                let every = per_second(2, 50).as_millis();
                let style = Style::Chat(per_second(2, 50));
                (format!("/chat/{name}?every={every}"), style)
            }
        }
    }

    /// [`Sort::manners`] with a message in some seconds.
    pub fn calm_manners(self, name: &str) -> (String, Style) {
        let pace = Duration::from_millis(fastrand::u64(1_000..3_000));
        let (echo, chat) = (
            format!("/echo/{name}"),
            format!("/chat/{name}?every={}", pace.as_millis()),
        );
        match self {
            Sort::Asker => (echo, Style::Think(pace / 2, pace)),
            Sort::Pusher => (chat, Style::Listen),
            Sort::Beater => (echo, Style::Chat(pace)),
            Sort::Chatter => (chat, Style::Chat(pace)),
        }
    }
}

/// The time between two messages at a random rate.
pub fn per_second(least: u64, most: u64) -> Duration {
    Duration::from_millis(1_000 / fastrand::u64(least..=most))
}
