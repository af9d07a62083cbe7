//! The books, held against each other by hand.

use super::*;

fn session(traffic: Traffic, sent: u64, received: &[u64], end: Instant) -> Session {
    let mut session = Session {
        id: 1,
        traffic,
        sent: Sent::default(),
        received: Received::default(),
        end: End::Closed(1012),
        ended: end,
    };
    for _ in 0..sent {
        session.sent.note(end);
    }
    for number in received {
        session.received.note(*number);
    }
    session
}

fn counterpart(sent: &[Instant], received: u64) -> Counterpart {
    let mut side = Counterpart::default();
    for at in sent {
        side.sent.note(*at);
    }
    for number in 1..=received {
        side.received.note(number);
    }
    side
}

#[test]
fn books_that_agree_lose_nothing() {
    let end = Instant::now();
    let account = Account::settle(
        &session(Traffic::Chat, 3, &[1, 2, 3], end),
        &counterpart(&[end; 3], 3),
    );
    assert_eq!(
        account,
        Account {
            up_sent: 3,
            up_arrived: 3,
            down_sent: 3,
            down_arrived: 3,
            ..Account::default()
        }
    );
}

#[test]
fn what_the_agent_never_had_is_lost_even_at_the_very_end() {
    let end = Instant::now();
    let account = Account::settle(
        &session(Traffic::Chat, 3, &[1, 2], end),
        &counterpart(&[end; 2], 2),
    );
    assert_eq!((account.lost, account.crossed), (1, 0));
}

#[test]
fn only_the_last_and_latest_of_the_agents_messages_cross_the_end() {
    let end = Instant::now();
    let long_ago = end - CROSSING - Duration::from_millis(1);
    let settle = |received: &[u64], sent: &[Instant]| {
        let account = Account::settle(
            &session(Traffic::Push, 0, received, end),
            &counterpart(sent, 0),
        );
        (account.lost, account.crossed)
    };
    assert_eq!(
        settle(&[1, 2], &[long_ago, long_ago, end]),
        (0, 1),
        "sent as the Close went out"
    );
    assert_eq!(
        settle(&[1, 2], &[long_ago; 3]),
        (1, 0),
        "sent long before the Close"
    );
    assert_eq!(
        settle(&[1, 3], &[long_ago, end, end]),
        (1, 0),
        "a later one arrived"
    );
    assert_eq!(
        settle(&[1], &[long_ago, long_ago, end]),
        (1, 1),
        "one of each"
    );
}

#[test]
fn a_response_never_crosses_the_end_of_its_connection() {
    let end = Instant::now();
    let account = Account::settle(
        &session(Traffic::Http, 2, &[1], end),
        &counterpart(&[end; 2], 2),
    );
    assert_eq!((account.lost, account.crossed), (1, 0));
}

#[test]
fn repeated_and_damaged_messages_are_wrong_and_make_up_for_nothing() {
    let end = Instant::now();
    let mut client = session(Traffic::Push, 0, &[1, 2, 2], end);
    client.received.damaged();
    let long_ago = end - CROSSING - Duration::from_secs(1);
    let account = Account::settle(&client, &counterpart(&[long_ago; 4], 0));
    assert_eq!(
        (account.down_arrived, account.wrong, account.lost),
        (2, 2, 2)
    );
}
