//! Agents that are processes and are killed: whose sessions move, and what one gets that has come back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::harness::agent::Vacancy;
use crate::harness::agent::http::named_at;
use crate::harness::wire::{Response, Wire};
use crate::harness::{Proxy, within};
use crate::upstreams::{
    Named, addresses, all_healthy, answers, endpoint, named, proxy, until, websockets,
};

/// An agent in a process of its own: another proxy before one that says its name.
struct Killable {
    process: Proxy,
    _agent: Named,
}

impl Killable {
    async fn start(name: &'static str) -> Killable {
        let agent = named(name);
        let process = Proxy::http(agent.agent.addr).start().await;
        Killable {
            process,
            _agent: agent,
        }
    }

    fn addr(&self) -> String {
        self.process.addr("web").to_string()
    }
}

/// Clients of a sort that differ in what they are known by.
const CLIENTS: u8 = 120;

/// A request of a client of this number, which is known by its header, its cookie and its address.
async fn of_client(proxy: &Proxy, client: u8) -> Response {
    let from = Ipv4Addr::new(127, 0, 1, client);
    let (header, cookie) = (format!("h-{client}"), format!("sid=c-{client}"));
    let asked = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let mut wire = Wire::new(socket.connect(proxy.addr("web")).await?);
        let fields = [("x-user", &*header), ("cookie", &*cookie)];
        wire.request("GET", "/", &fields, b"").await
    };
    within(10, "an answer", asked).await.expect("an answer")
}

async fn all_clients(proxy: &Proxy) -> BTreeMap<u8, String> {
    let mut whose = BTreeMap::new();
    for client in 1..=CLIENTS {
        let answer = of_client(proxy, client).await;
        assert_eq!(answer.status, 200, "{client}: {}", answer.text());
        whose.insert(client, answer.text());
    }
    whose
}

/// Of those that are spread by this, only those of a killed agent move.
async fn only_those_of_a_killed_agent_move(hash_on: &str) {
    let mut agents = Vec::new();
    for name in ["a", "b", "c"] {
        agents.push(Killable::start(name).await);
    }
    let at: Vec<_> = agents.iter().map(Killable::addr).collect();
    let keys = format!("balance = \"hash\"\nhash_on = \"{hash_on}\"");
    let proxy = proxy("http", &at, &keys).await;
    all_healthy(&proxy, &at).await;
    let before = all_clients(&proxy).await;
    assert_eq!(before, all_clients(&proxy).await, "they stay");
    let share = |whose: &BTreeMap<u8, String>, name: &str| {
        whose.values().filter(|answer| *answer == name).count()
    };
    let shares = ["a", "b", "c"].map(|name| share(&before, name));
    // A third each, and five deviations beside it.
    assert!(shares.iter().all(|n| (14..=66).contains(n)), "{shares:?}");

    agents[2].process.signal(Signal::KILL);
    agents[2].process.exit_within(20).await;
    let after = all_clients(&proxy).await;
    let moved: Vec<_> = before.iter().filter(|(n, who)| after[n] != **who).collect();
    assert!(moved.iter().all(|(_, who)| *who == "c"), "{moved:?}");
    assert_eq!(moved.len(), shares[2], "the share of the killed one");
    let shares_after = ["a", "b", "c"].map(|name| share(&after, name));
    assert_eq!(shares_after[2], 0);
    assert!(shares_after[0] > shares[0] && shares_after[1] > shares[1]);
    println!(
        "{hash_on}: {shares:?}, then {shares_after:?}: {} moved",
        moved.len()
    );
}

#[tokio::test]
async fn only_those_of_a_killed_agent_move_by_header() {
    only_those_of_a_killed_agent_move("header:X-User").await;
}

#[tokio::test]
async fn only_those_of_a_killed_agent_move_by_cookie() {
    only_those_of_a_killed_agent_move("cookie:sid").await;
}

#[tokio::test]
async fn only_those_of_a_killed_agent_move_by_address() {
    only_those_of_a_killed_agent_move("address").await;
}

#[tokio::test]
async fn a_killed_agent_is_found_by_a_connection() {
    let (a, b) = (Killable::start("a").await, Killable::start("b").await);
    let at = [a.addr(), b.addr()];
    let keys = "[upstream.agent.check]\ntype = \"tcp\"\ninterval = \"50ms\"\nrise = 2\nfall = 2";
    let proxy = proxy("http", &at, keys).await;
    all_healthy(&proxy, &at).await;
    let mut sessions = JoinSet::new();
    for mut wire in websockets(&proxy, 20).await {
        sessions.spawn(async move { wire.rest().await });
    }
    for at in &at {
        until(&proxy, at, "sessions", 10).await;
    }
    b.process.signal(Signal::KILL);
    until(&proxy, &at[1], "healthy", false).await;
    for _ in 0..10 {
        within(20, "the end of a session", sessions.join_next()).await;
    }
    until(&proxy, &at[1], "sessions", 0).await;
    // Those on the other are untouched, and whoever comes goes there.
    until(&proxy, &at[0], "sessions", 10).await;
    assert!(sessions.try_join_next().is_none(), "one of the other's");
    let _more = websockets(&proxy, 10).await;
    until(&proxy, &at[0], "sessions", 20).await;
    assert_eq!(answers(&proxy, 10).await["a"], 10);
}

#[tokio::test]
async fn one_that_has_come_back_is_given_more_and_more() {
    let vacancy = Vacancy::new();
    let a = named("a");
    let at = [addresses(&[&a])[0].clone(), vacancy.addr().to_string()];
    let slowly = Duration::from_secs(4);
    let keys = "balance = \"round-robin\"\nslow_start = \"4s\"\n\
                [upstream.agent.check]\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    let proxy = proxy("http", &at, keys).await;
    until(&proxy, &at[0], "healthy", true).await;
    until(&proxy, &at[1], "healthy", false).await;
    assert_eq!(answers(&proxy, 10).await["a"], 10);
    let _b = named_at("b", vacancy);
    until(&proxy, &at[1], "healthy", true).await;
    // Its share of what was asked in each quarter of the time that it is given, and behind that.
    let (begun, mut quarters) = (Instant::now(), [[0_usize; 2]; 5]);
    while begun.elapsed() < slowly + slowly / 4 {
        let counts = answers(&proxy, 1).await;
        let quarter = (begun.elapsed().as_secs_f64() / slowly.as_secs_f64() * 4.0) as usize;
        if let Some(counted) = quarters.get_mut(quarter) {
            counted[usize::from(counts.contains_key("b"))] += 1;
        }
    }
    println!("a and b, by quarters of the slow start, and behind it: {quarters:?}");
    let share = |[a, b]: [usize; 2]| b as f64 / (a + b).max(1) as f64;
    let shares = quarters.map(share);
    assert!(shares[0] < 0.3, "{shares:?}");
    assert!(shares[0] < shares[2] && shares[1] < shares[4], "{shares:?}");
    assert!((0.4..0.6).contains(&shares[4]), "{shares:?}");
    assert_eq!(endpoint(&proxy, &at[1]).await["healthy"], true);
}
