//! Clients in front of the proxy.

pub mod http;
pub mod tcp;
pub mod websocket;

use std::time::Duration;

use tokio::time::Interval;

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Sends a message unasked at this pace.
    Chat(Duration),
    /// The same, each message in three pieces, one a tick.
    ChatInParts(Duration),
    /// Sends a message at this pace, unless the last one is still unanswered.
    Ask(Duration),
    /// Sends a message a random time, from the first to the second, after the last was answered.
    Think(Duration, Duration),
    /// Only listens.
    Listen,
}

impl Style {
    fn pace(self) -> Option<Interval> {
        let every = match self {
            Style::Chat(every) | Style::ChatInParts(every) | Style::Ask(every) => every,
            // Each answer sets it anew.
            Style::Think(_, longest) => longest,
            Style::Listen => return None,
        };
        // Not all in step: a crowd of clients has no common clock.
        let start = tokio::time::Instant::now() + every.mul_f64(fastrand::f64());
        let mut pace = tokio::time::interval_at(start, every);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Some(pace)
    }
}

/// A random length between two.
fn between(shortest: Duration, longest: Duration) -> Duration {
    shortest + (longest - shortest).mul_f64(fastrand::f64())
}

/// The next tick of a pace; never, where there is none. Cancel safe.
async fn tick(pace: &mut Option<Interval>) {
    match pace {
        Some(pace) => pace.tick().await,
        None => std::future::pending().await,
    };
}
