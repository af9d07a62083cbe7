//! What a drain was like, in figures: one column of a table.

use std::time::{Duration, Instant};

use super::arrivals::Arrivals;
use super::crowd::{Felt, Session};
use super::pace::Pace;
use crate::harness::proxy::Exit;
use crate::harness::wire::End;

/// The figures of a drain, by name.
pub(crate) struct Tally(Vec<(&'static str, String)>);

/// All that a tally is made of.
pub(crate) struct Drained<'a> {
    pub(crate) felt: &'a Felt,
    pub(crate) arrivals: &'a Arrivals,
    /// What was wrong with slow requests, of how many.
    pub(crate) slow: (&'a [String], usize),
    pub(crate) begun: Instant,
    /// Where it is known.
    pub(crate) exit: Option<Exit>,
    /// Bytes that the subject itself says it could not deliver.
    pub(crate) undelivered: Option<u64>,
}

impl Tally {
    /// Counts.
    pub(crate) fn of(drained: &Drained<'_>) -> Tally {
        let mut rows = Vec::new();
        in_websockets(&drained.felt.websockets, &mut rows);
        if let Some(bytes) = drained.undelivered {
            rows.push(("bytes counted as undelivered", bytes.to_string()));
        }
        in_tcp(&drained.felt.tcp, &mut rows);
        in_http(drained, &mut rows);
        let (_, most) = Pace::of(drained.felt, drained.begun).in_a_tenth();
        rows.push(("gone in the busiest 100 ms", most.to_string()));
        let took = drained.exit.map(|exit| exit.at - drained.begun);
        rows.push((
            "time to exit",
            took.map_or("still there".to_owned(), |took: Duration| {
                format!("{:.1} s", took.as_secs_f64())
            }),
        ));
        let code = drained.exit.and_then(|exit| exit.code);
        rows.push((
            "exit code",
            code.map_or("—".to_owned(), |code| code.to_string()),
        ));
        Tally(rows)
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, name: &'static str, value: String) {
        self.0.push((name, value));
    }
}

fn of(part: usize, all: usize) -> String {
    match all {
        0 => "—".to_owned(),
        _ => format!("{part} of {all}"),
    }
}

fn lost(sessions: &[Session]) -> (u64, u64, u64) {
    let (mut sent, mut to_agent, mut to_client) = (0, 0, 0);
    for Session { client, agent, .. } in sessions {
        sent += client.side.sent + agent.sent;
        to_agent += agent.missing_from(&client.side).unwrap_or(0);
        to_client += client.side.missing_from(agent).unwrap_or(0);
    }
    (sent, to_agent, to_client)
}

fn in_websockets(sessions: &[Session], rows: &mut Vec<(&'static str, String)>) {
    let all = sessions.len();
    let with = |wanted: &dyn Fn(u16) -> bool| {
        let codes = sessions.iter().filter_map(|s| s.client.side.close);
        codes.filter(|close| wanted(close.code)).count()
    };
    let torn = |session: &&Session| {
        let faults = &session.client.side.faults;
        faults.iter().any(|fault| {
            fault.contains("the Close came inside") || fault.contains("ended within a frame")
        })
    };
    rows.push(("WebSockets closed with 1012", of(with(&|c| c == 1012), all)));
    rows.push(("… with another Close", of(with(&|code| code != 1012), all)));
    rows.push(("… without a Close (1006)", of(all - with(&|_| true), all)));
    rows.push((
        "… inside a message",
        of(sessions.iter().filter(torn).count(), all),
    ));
    let asked = |s: &&Session| s.sort.is_answered();
    let asked: Vec<&Session> = sessions.iter().filter(asked).collect();
    let unanswered = asked.iter().filter(|s| s.unanswered() > 0).count();
    rows.push((
        "request/reply sessions left without an answer",
        of(unanswered, asked.len()),
    ));
    let (sent, to_agent, to_client) = lost(sessions);
    rows.push((
        "messages lost to the agent, to the client",
        format!("{to_agent}, {to_client} of {sent}"),
    ));
}

fn in_tcp(sessions: &[Session], rows: &mut Vec<(&'static str, String)>) {
    let all = sessions.len();
    let fin = sessions
        .iter()
        .filter(|session| session.client.side.end == Some(End::Fin));
    rows.push(("TCP ended by FIN", of(fin.count(), all)));
    let (sent, to_agent, to_client) = lost(sessions);
    rows.push((
        "TCP messages lost",
        match all {
            0 => "—".to_owned(),
            _ => format!("{} of {sent}", to_agent + to_client),
        },
    ));
}

fn in_http(drained: &Drained<'_>, rows: &mut Vec<(&'static str, String)>) {
    let felt = drained.felt;
    let whole = felt.events.iter().filter(|e| e.faults.is_empty()).count();
    rows.push(("event streams ended whole", of(whole, felt.events.len())));
    let answered: u64 = felt.polls.iter().map(|poll| poll.answered).sum();
    let polls: usize = felt.polls.iter().map(|poll| poll.faults.len()).sum();
    let (slow, of_slow) = drained.slow;
    rows.push((
        "HTTP errors",
        format!(
            "{} of {}",
            polls + slow.len(),
            answered as usize + polls + of_slow
        ),
    ));
    let refused = drained.arrivals.faults.len();
    rows.push((
        "arrivals refused",
        of(refused, refused + drained.arrivals.served),
    ));
}

/// Shows drains side by side, as a table in Markdown.
pub(crate) fn show(columns: &[(String, Tally)]) {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flat_map(|(_, tally)| &tally.0) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let heads: Vec<&str> = columns.iter().map(|(head, _)| head.as_str()).collect();
    println!("| | {} |", heads.join(" | "));
    println!("| --- |{}", " --- |".repeat(heads.len()));
    for name in names {
        let values = columns.iter().map(|(_, tally)| {
            let value = tally.0.iter().find(|(n, _)| *n == name);
            value.map_or("not told", |(_, value)| value.as_str())
        });
        println!("| {name} | {} |", values.collect::<Vec<_>>().join(" | "));
    }
}
