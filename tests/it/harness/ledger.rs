//! Who sent what and what of it arrived. Messages carry a sequence number per direction.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::watch;

use super::wire::End;

/// The shortest message, in bytes.
pub const SHORTEST: usize = 24;

/// The text of the message with this number.
pub fn message(number: u64) -> String {
    format!("{number:08} ..............o")
}

/// The number of a message.
pub fn number(message: &[u8]) -> u64 {
    let digits = message
        .get(..8)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("not one of our messages: {message:?}"))
}

/// What one end of a session did and saw.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// How many messages were sent before a Close or an end was seen; they are numbered from 0.
    pub sent: u64,
    /// The numbers that came, in their order.
    pub received: Vec<u64>,
    /// The Close that came.
    pub close: Option<Close>,
    /// How the peer ended the connection.
    pub end: Option<End>,
    /// When it did.
    pub ended_at: Option<Instant>,
    /// What should not have been, in words.
    pub faults: Vec<String>,
}

/// A Close as it came.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// Its code; 1005, where it had none.
    pub code: u16,
    /// When it came.
    pub at: Instant,
}

impl Side {
    /// How many of `sender`'s messages have not come here. Those that came must be in order, each
    /// once.
    pub fn missing_from(&self, sender: &Side) -> Result<u64, String> {
        if let Some(pair) = self.received.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("message {} came after {}", pair[1], pair[0]));
        }
        if let Some(last) = self.received.last().filter(|last| **last > sender.sent) {
            return Err(format!(
                "message {last} came, but only {} were sent",
                sender.sent
            ));
        }
        Ok(sender.sent.saturating_sub(self.received.len() as u64))
    }
}

/// The sides of all sessions of an agent, by session name, as they end. Clones share it.
#[derive(Clone)]
pub struct Ledger(watch::Sender<HashMap<String, Side>>);

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger(watch::Sender::new(HashMap::new()))
    }
}

impl Ledger {
    /// Writes down the side of a session that has ended.
    pub fn enter(&self, session: &str, side: Side) {
        self.0.send_modify(|sides| {
            let before = sides.insert(session.to_owned(), side);
            assert!(before.is_none(), "session {session} ended twice");
        });
    }

    /// The sides of all these sessions, once they have ended. Unbounded: wrap it in
    /// [`super::within`].
    pub async fn sides(&self, names: &[String]) -> HashMap<String, Side> {
        let mut sides = self.0.subscribe();
        let sides = sides
            .wait_for(|sides| names.iter().all(|name| sides.contains_key(name)))
            .await;
        sides.expect("this holds a sender").clone()
    }

    /// The side of a session, once it has ended. Unbounded: wrap it in [`super::within`].
    pub async fn side(&self, name: &str) -> Side {
        self.sides(&[name.to_owned()])
            .await
            .remove(name)
            .expect("asked for")
    }
}
