//! Agent and clients against each other, with nothing between them.

use std::time::Instant;

use clap::{CommandFactory, Parser};

use super::agent::Agent;
use super::book::Book;
use super::clients::{Clients, Targets};
use super::ledger::{End, Session, Traffic};
use super::verdict::{Leaving, Verdict};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something to become true, and fails if it does not.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An agent and sixty clients; every session is open, and at it.
fn agent_and_clients() -> (Agent, Clients) {
    let agent = Agent::start(loopback(0), loopback(0), Book::new(true)).unwrap();
    let targets = Targets {
        http: agent.http.to_string(),
        tcp: Some(agent.tcp.to_string()),
        health: None,
    };
    let clients = Clients::start(targets, 60).unwrap();
    until("every session is open", || clients.live.opened() == 60);
    until("slow requests have been answered", || {
        agent.book.served() > 60
    });
    (agent, clients)
}

fn sessions(clients: &Clients) -> Vec<Session> {
    clients
        .ended(PATIENCE)
        .unwrap()
        .expect("an end of all sessions")
}

#[test]
fn the_books_of_agent_and_clients_agree() {
    let (agent, clients) = agent_and_clients();
    clients.leave();
    let sessions = sessions(&clients);
    until("the agent sees all of them gone", || {
        Traffic::ALL
            .iter()
            .all(|traffic| agent.book.open_now(*traffic) == 0)
    });
    let book = agent.book.closed();
    let verdict = Verdict::of(&sessions, Some(&book), clients.count(), Leaving::Allowed);
    assert!(verdict.is_good(), "{verdict:?}");
    let traffic: Vec<_> = verdict
        .rows
        .iter()
        .map(|row| (row.traffic, row.sessions))
        .collect();
    let expected = Traffic::ALL.into_iter().zip([18, 18, 9, 6, 6, 3]);
    assert_eq!(traffic, expected.collect::<Vec<_>>());
    for row in &verdict.rows {
        assert!(row.account.down_arrived > 0, "{row:?}");
        let asks = !matches!(row.traffic, Traffic::Push | Traffic::Sse);
        assert_eq!(row.account.up_arrived > 0, asks, "{row:?}");
    }
}

#[test]
fn an_agent_that_is_gone_is_no_clean_end() {
    let (agent, clients) = agent_and_clients();
    drop(agent);
    let sessions = sessions(&clients);
    let verdict = Verdict::of(&sessions, None, clients.count(), Leaving::Allowed);
    assert!(!verdict.is_good());
    for session in sessions {
        // A FIN after a whole line is all that TCP can say, whoever says it.
        let clean = matches!(session.end, End::Line | End::Answered);
        let may_be = matches!(
            session.traffic,
            Traffic::Tcp | Traffic::Http | Traffic::Slow
        );
        assert!(may_be || !clean, "{session:?}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind(loopback(0)).unwrap();
    let address = taken.local_addr().unwrap();
    let Err(error) = Agent::start(loopback(0), address, Book::new(false)) else {
        panic!("two of them have {address}");
    };
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("the agent cannot have the address {address}: ")),
        "{text}"
    );
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

#[test]
fn flags_of_one_half_do_not_go_with_the_other() {
    Line::command().debug_assert();
    let parse = |line: &str| Line::try_parse_from(format!("demo {line}").split_whitespace());
    for good in [
        "",
        "--agent",
        "--agent --listen 127.0.0.1:1",
        "--clients --target a:1 --count 9",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in [
        "--agent --clients",
        "--listen 127.0.0.1:1",
        "--target a:1",
        "--agent --count 9",
        "--clients --window 20s",
        "--window 1s",
        "--window soon",
        "--count 0",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_window_that_is_too_short_says_why() {
    assert_eq!(window("15s"), Ok(Duration::from_secs(15)));
    assert!(window("2s").is_err_and(|why| why.contains("at least 8s")));
}
