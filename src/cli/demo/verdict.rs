//! What the two books come to, for each kind of traffic and in all.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{Account, Counterpart, End, Session, Traffic};

/// Whether clients may have left by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// They were told to by whoever runs them.
    Allowed,
    /// They were to be asked to go, and gave up waiting for it.
    GaveUp,
}

/// What became of the sessions with one kind of traffic.
#[derive(Debug)]
pub(super) struct Row {
    /// The kind.
    pub traffic: Traffic,
    /// How many sessions there were.
    pub sessions: usize,
    /// The ends, in words, with how many had each, the most frequent first.
    pub ends: Vec<(String, usize)>,
    /// The messages.
    pub account: Account,
}

/// What became of everything.
#[derive(Debug)]
pub(super) struct Verdict {
    /// For each kind of traffic that there was.
    pub rows: Vec<Row>,
    /// How many sessions ended in a way that nobody has to repair.
    pub clean: usize,
    /// How many sessions there were.
    pub sessions: usize,
    /// All messages.
    pub total: Account,
    /// Whether the agent's book was at hand.
    pub compared: bool,
}

impl Verdict {
    /// Reads the clients' book, and the agent's where there is one; `expected` is the number of
    /// clients that were started, of which none may be missing.
    pub(super) fn of(
        sessions: &[Session],
        agent: Option<&HashMap<u32, Counterpart>>,
        expected: usize,
        leaving: Leaving,
    ) -> Verdict {
        let clean = |session: &&Session| {
            session.end.is_clean() && (session.end != End::Left || leaving == Leaving::Allowed)
        };
        let rows: Vec<Row> = Traffic::ALL
            .into_iter()
            .map(|traffic| Row::of(traffic, sessions, agent, leaving))
            .filter(|row| row.sessions > 0)
            .collect();
        Verdict {
            clean: sessions.iter().filter(clean).count(),
            sessions: expected.max(sessions.len()),
            total: rows
                .iter()
                .fold(Account::default(), |sum, row| sum.plus(row.account)),
            rows,
            compared: agent.is_some(),
        }
    }

    /// Whether every session ended cleanly and no message was lost or wrong.
    pub(super) fn is_good(&self) -> bool {
        self.clean == self.sessions && self.total.lost == 0 && self.total.wrong == 0
    }
}

impl Row {
    fn of(
        traffic: Traffic,
        sessions: &[Session],
        agent: Option<&HashMap<u32, Counterpart>>,
        leaving: Leaving,
    ) -> Row {
        let unknown = Counterpart::default();
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        let mut account = Account::default();
        let mut count = 0;
        for session in sessions.iter().filter(|session| session.traffic == traffic) {
            count += 1;
            let words = match (&session.end, leaving) {
                (End::Left, Leaving::GaveUp) => "NOT CLEAN: never asked to go".to_owned(),
                (end, _) => end.words(),
            };
            *ends.entry(words).or_default() += 1;
            account = account.plus(match agent {
                Some(agent) => Account::settle(session, agent.get(&session.id).unwrap_or(&unknown)),
                None => Account::alone(session),
            });
        }
        let mut ends: Vec<_> = ends.into_iter().collect();
        ends.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Row {
            traffic,
            sessions: count,
            ends,
            account,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cli::demo::ledger::{Received, Sent};

    fn session(id: u32, traffic: Traffic, end: End) -> Session {
        let (sent, received) = (Sent::default(), Received::default());
        Session {
            id,
            traffic,
            sent,
            received,
            end,
            ended: Instant::now(),
        }
    }

    #[test]
    fn one_torn_session_or_one_missing_client_spoils_the_verdict() {
        let good = [
            session(0, Traffic::Chat, End::Closed(1012)),
            session(1, Traffic::Tcp, End::Line),
            session(2, Traffic::Sse, End::Event),
            session(3, Traffic::Http, End::Answered),
        ];
        let book = HashMap::new();
        let verdict = Verdict::of(&good, Some(&book), 4, Leaving::GaveUp);
        assert!(verdict.is_good());
        assert_eq!(verdict.rows.len(), 4);
        assert!(!Verdict::of(&good, Some(&book), 5, Leaving::GaveUp).is_good());
        for end in [
            End::Torn("cut".to_owned()),
            End::Closed(1011),
            End::Closed(1005),
        ] {
            let mut bad = good.clone();
            bad[0].end = end;
            assert!(!Verdict::of(&bad, Some(&book), 4, Leaving::GaveUp).is_good());
        }
    }

    #[test]
    fn who_gave_up_waiting_was_not_served_well() {
        let left = [session(0, Traffic::Chat, End::Left)];
        assert!(Verdict::of(&left, None, 1, Leaving::Allowed).is_good());
        let verdict = Verdict::of(&left, None, 1, Leaving::GaveUp);
        assert!(!verdict.is_good());
        assert_eq!(
            verdict.rows[0].ends,
            [("NOT CLEAN: never asked to go".to_owned(), 1)]
        );
    }

    #[test]
    fn a_message_that_the_agent_never_had_spoils_the_verdict() {
        let mut lost = session(7, Traffic::Chat, End::Closed(1012));
        lost.sent.note(Instant::now());
        let mut book = HashMap::new();
        assert!(!Verdict::of(&[lost.clone()], Some(&book), 1, Leaving::GaveUp).is_good());
        let mut side = Counterpart::default();
        side.received.note(1);
        book.insert(7, side);
        assert!(Verdict::of(&[lost], Some(&book), 1, Leaving::GaveUp).is_good());
    }
}
