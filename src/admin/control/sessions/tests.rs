use std::net::SocketAddr;

use crate::session::{Home, ListenerIndex, WorkerIndex};

use super::*;

fn facts(slot: usize, kind: Option<Kind>, age: u64, idle: u64, bytes: u64) -> Facts {
    Facts {
        endpoint: None,
        id: SessionId::new(WorkerIndex(0), Home::Pump, slot, 1),
        listener: ListenerIndex(0),
        holding: kind.map_or(Holding::Nothing, Holding::Session),
        client: SocketAddr::from(([127, 0, 0, 1], 1)),
        key: None,
        age: Duration::from_secs(age),
        idle: [Duration::from_secs(idle); 2],
        bytes: [bytes, 0],
        messages: [0; 2],
        asked: false,
    }
}

fn some() -> Vec<Facts> {
    let websocket = Some(Kind::Websocket);
    vec![
        facts(0, websocket, 10, 3, 5),
        facts(1, Some(Kind::Tcp), 30, 1, 50),
        facts(2, None, 90, 90, 900),
        facts(3, websocket, 20, 2, 50),
    ]
}

const ASKED: Asked = Asked(Duration::from_secs(100));

fn slots(query: &str) -> (usize, Vec<usize>, Option<String>) {
    let query = Query::parse(Some(query)).unwrap();
    let (total, facts, next) = page(some(), &query, ASKED);
    (total, facts.iter().map(|f| f.id.slot()).collect(), next)
}

#[test]
fn sessions_come_in_the_order_asked_for() {
    for (query, expected) in [
        ("", vec![0, 1, 3]),
        ("sort=", vec![0, 1, 3]),
        ("sort=idle", vec![0, 3, 1]),
        ("sort=age", vec![1, 3, 0]),
        ("sort=bytes", vec![1, 3, 0]),
        ("kind=websocket&sort=age", vec![3, 0]),
        ("kind=grpc", vec![]),
    ] {
        let (total, slots, next) = slots(query);
        assert_eq!((total, slots), (expected.len(), expected), "{query}");
        assert_eq!(next, None);
    }
}

#[test]
fn pages_join_without_a_gap() {
    for sort in ["", "idle", "age", "bytes"] {
        let mut seen = Vec::new();
        let mut next = Some(String::new());
        while let Some(cursor) = next {
            let (total, slots, after) = slots(&format!("sort={sort}&limit=1&cursor={cursor}"));
            assert_eq!((total, slots.len()), (3, 1));
            seen.extend(slots);
            next = after;
        }
        assert_eq!(seen, slots(&format!("sort={sort}")).1, "{sort}");
    }
}

#[test]
fn a_wrong_query_is_told_what_would_be_right() {
    for query in [
        "kind=ftp",
        "sort=name",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "cursor=x",
        "cursor=1-zz",
        "colour=red",
    ] {
        let problem = Query::parse(Some(query)).unwrap_err();
        assert_eq!(problem.into_response().status(), 400, "{query}");
    }
}
