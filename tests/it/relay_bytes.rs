//! What one side says the other hears: every byte, a half-close as half-close, a reset as reset.
//!
//! Both sides of a session follow a plan that a seed decides: how much to say, in what pieces, where
//! to stall, and how to end. `LAMEDUCK_TEST_SEED` repeats a run.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::harness::agent::Agent;
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, within};

/// How many sessions the random test plays.
const SESSIONS: u64 = 96;

/// What a large transfer is written in.
const LARGE_PIECE: usize = 512 * 1024;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Client,
    Agent,
}

/// How a side ends what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With a FIN behind the last byte.
    HalfClose,
    /// The same, but the last bytes are said only after the other side's FIN was heard.
    HalfCloseAfterTheOther,
    /// With a reset behind the last byte.
    Reset,
}

/// What a side will do.
#[derive(Clone, Debug)]
struct Plan {
    part: Part,
    seed: u64,
    length: u64,
    ending: Ending,
    largest_piece: usize,
    stall_one_in: u32,
}

impl Plan {
    /// The plans of both sides of the session with this seed.
    fn both(seed: u64) -> [Plan; 2] {
        let mut random = Rng::with_seed(seed);
        let waits = random.u8(..2);
        // Small pieces with a stall behind every eighth would take minutes for the longest streams.
        const PIECES: u64 = 2_000;
        // Some are large transfers, which the kernel passes on without a copy.
        let is_transfer = random.u8(..8) == 0;
        let pieces = [1, 2].map(|_| match is_transfer {
            true => LARGE_PIECE,
            false => 1_usize << random.u32(6..18),
        });
        let longest = PIECES * *pieces.iter().min().expect("two of them") as u64;
        let mut pieces = pieces.into_iter();
        let mut plan = |part, may_wait| Plan {
            part,
            seed: seed ^ part as u64,
            length: match random.u8(..4) {
                _ if is_transfer => random.u64(4 * 1024 * 1024..16 * 1024 * 1024),
                0 => random.u64(..64),
                1 | 2 => random.u64(..64 * 1024),
                _ => random.u64(..4 * 1024 * 1024),
            }
            .min(longest),
            ending: match random.u8(..8) {
                0 => Ending::Reset,
                1..=3 if may_wait => Ending::HalfCloseAfterTheOther,
                _ => Ending::HalfClose,
            },
            largest_piece: pieces.next().expect("one for each part"),
            stall_one_in: random.u32(8..64),
        };
        // At most one side waits for the other.
        [
            plan(Part::Client, waits == 0),
            plan(Part::Agent, waits == 1),
        ]
    }

    fn says_in_full(&self, account: &Account) -> bool {
        account.said == self.length && !account.broken
    }
}

/// The byte at a place of a side's stream.
fn byte(seed: u64, at: u64) -> u8 {
    (seed.wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// What a side did and heard.
#[derive(Clone, Debug)]
struct Account {
    part: Part,
    said: u64,
    /// Saying ended with an error.
    broken: bool,
    heard: u64,
    /// Where the first wrong byte stood.
    wrong_at: Option<u64>,
    end: Option<End>,
}

impl Account {
    /// The kernel tells a reset once, to whoever asks first: reader or writer.
    fn felt_a_reset(&self) -> bool {
        self.broken || self.end == Some(End::Reset)
    }
}

/// One of the random stalls, which are what is tested.
async fn stall(random: &mut Rng) {
    tokio::time::sleep(Duration::from_millis(random.u64(1..15))).await;
}

/// Plays a side to its end.
async fn play(mut stream: TcpStream, plan: &Plan) -> Account {
    let mut account = Account {
        part: plan.part,
        said: 0,
        broken: false,
        heard: 0,
        wrong_at: None,
        end: None,
    };
    let (heard_end, end) = watch::channel(false);
    let spoken = {
        let (reader, writer) = stream.split();
        let speaking = pin!(speak(writer, plan, end));
        let hearing = pin!(hear(reader, plan, heard_end, &mut account));
        match select(speaking, hearing).await {
            Either::Left((spoken, _)) if spoken.resets => spoken,
            Either::Left((spoken, hearing)) => {
                hearing.await;
                spoken
            }
            Either::Right(((), speaking)) => speaking.await,
        }
    };
    if spoken.resets {
        stream.set_zero_linger().unwrap();
    }
    Account {
        said: spoken.said,
        broken: spoken.broken,
        ..account
    }
}

/// What became of a side's words.
#[derive(Default)]
struct Spoken {
    said: u64,
    broken: bool,
    /// The connection is to be reset now.
    resets: bool,
}

/// Says the plan.
async fn speak(
    mut writer: WriteHalf<'_>,
    plan: &Plan,
    mut other_ended: watch::Receiver<bool>,
) -> Spoken {
    let mut spoken = Spoken::default();
    let said = &mut spoken.said;
    let mut random = Rng::with_seed(plan.seed);
    let mut piece = Vec::new();
    let half = plan.length / 2;
    while *said < plan.length {
        if plan.ending == Ending::HalfCloseAfterTheOther && *said >= half {
            // An error means that the other side has ended in some way, too.
            let _ = other_ended.wait_for(|ended| *ended).await;
        }
        let mut size = random.usize(1..=plan.largest_piece) as u64;
        size = size.min(plan.length - *said);
        if *said < half {
            size = size.min(half - *said);
        }
        piece.clear();
        piece.extend((*said..*said + size).map(|at| byte(plan.seed, at)));
        let mut rest = &piece[..];
        while !rest.is_empty() {
            match writer.write(rest).await {
                Ok(written) => {
                    *said += written as u64;
                    rest = &rest[written..];
                }
                Err(_) => {
                    spoken.broken = true;
                    return spoken;
                }
            }
        }
        if random.u32(..plan.stall_one_in) == 0 {
            stall(&mut random).await;
        }
    }
    spoken.resets = plan.ending == Ending::Reset;
    if !spoken.resets {
        spoken.broken = writer.shutdown().await.is_err();
    }
    spoken
}

async fn hear(
    mut reader: ReadHalf<'_>,
    plan: &Plan,
    ended: watch::Sender<bool>,
    account: &mut Account,
) {
    let other = match plan.part {
        Part::Client => Part::Agent,
        Part::Agent => Part::Client,
    };
    let seed = plan.seed ^ plan.part as u64 ^ other as u64;
    let mut random = Rng::with_seed(!plan.seed);
    let mut buffer = vec![0; plan.largest_piece];
    loop {
        let size = random.usize(1..=buffer.len());
        match reader.read(&mut buffer[..size]).await {
            Ok(0) => account.end = Some(End::Fin),
            Err(_) => account.end = Some(End::Reset),
            Ok(count) => {
                for &got in &buffer[..count] {
                    if got != byte(seed, account.heard) {
                        account.wrong_at.get_or_insert(account.heard);
                    }
                    account.heard += 1;
                }
                if random.u32(..plan.stall_one_in) == 0 {
                    stall(&mut random).await;
                }
                continue;
            }
        }
        ended.send_replace(true);
        return;
    }
}

/// What is wrong with the accounts of a session.
fn judge(plans: &[Plan; 2], accounts: &[Account; 2]) -> Result<(), String> {
    for (us, them) in [(0, 1), (1, 0)] {
        let (plan, account, other) = (&plans[us], &accounts[us], &accounts[them]);
        assert_eq!(plan.part, account.part);
        let who = plan.part;
        if let Some(at) = account.wrong_at {
            return Err(format!("the {who:?} heard a wrong byte at {at}"));
        }
        if account.heard > other.said {
            return Err(format!(
                "the {who:?} heard {} of {} bytes",
                account.heard, other.said
            ));
        }
        if plans.iter().all(|plan| plan.ending != Ending::Reset) {
            if !plan.says_in_full(account) {
                return Err(format!("the {who:?} could say only {}", account.said));
            }
            if account.heard != other.said {
                return Err(format!(
                    "the {who:?} heard {} of {}",
                    account.heard, other.said
                ));
            }
            if account.end != Some(End::Fin) {
                return Err(format!("the {who:?} heard the end {:?}", account.end));
            }
        } else if plans[them].ending == Ending::Reset
            && plan.ending != Ending::Reset
            && !account.felt_a_reset()
        {
            return Err(format!("the {who:?} felt no reset"));
        }
    }
    Ok(())
}

/// An agent that learns a session's seed from its first eight bytes and plays its part.
fn playing_agent(accounts: mpsc::UnboundedSender<(u64, Account)>) -> Agent {
    Agent::start(move |_, mut stream| {
        let accounts = accounts.clone();
        async move {
            let Ok(seed) = stream.read_u64().await else {
                return;
            };
            let account = play(stream, &Plan::both(seed)[1]).await;
            let _ = accounts.send((seed, account));
        }
    })
}

async fn play_client(addr: SocketAddr, seed: u64) -> Account {
    let mut stream = TcpStream::connect(addr)
        .await
        .expect("the proxy takes the connection");
    stream.set_nodelay(true).unwrap();
    stream
        .write_u64(seed)
        .await
        .expect("the first bytes go out");
    play(stream, &Plan::both(seed)[0]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_whatever_the_stalls_and_ends() {
    let seed = match std::env::var("LAMEDUCK_TEST_SEED") {
        Ok(seed) => seed.parse().expect("LAMEDUCK_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("LAMEDUCK_TEST_SEED={seed}");
    let (told, mut accounts) = mpsc::unbounded_channel();
    let agent = playing_agent(told);
    let proxy = Proxy::tcp(agent.addr).start().await;
    let addr = proxy.addr("raw");

    let seeds = |n: u64| seed.wrapping_add(n.wrapping_mul(0x1_0001));
    let mut clients = JoinSet::new();
    let mut heard = std::collections::HashMap::new();
    let (mut next, mut faults, mut judged, mut resets) = (0, Vec::new(), 0, 0);
    while judged < SESSIONS {
        // Sixteen at a time, so that some wait while others speak.
        while next < SESSIONS && next < judged + 16 {
            let seed = seeds(next);
            clients.spawn(async move { (seed, play_client(addr, seed).await) });
            next += 1;
        }
        let (session, account) = within(60, "the next side to end", async {
            tokio::select! {
                Some(ended) = clients.join_next() => ended.unwrap(),
                Some(ended) = accounts.recv() => ended,
            }
        })
        .await;
        let Some(other) = heard.insert(session, account.clone()) else {
            continue;
        };
        let mut both: [Account; 2] = [account, other];
        both.sort_by_key(|account| account.part as u8);
        let plans = Plan::both(session);
        resets += u64::from(plans.iter().any(|plan| plan.ending == Ending::Reset));
        if let Err(fault) = judge(&plans, &both) {
            faults.push(format!("{fault}\n    {plans:?}\n    {both:?}"));
        }
        judged += 1;
    }
    println!("{judged} sessions, {resets} of them with a reset");
    assert!(resets > 0 && resets < SESSIONS, "the plans are all alike");
    assert!(faults.is_empty(), "seed {seed}:\n{}", faults.join("\n"));
    let done = |scrape: &crate::harness::metrics::Scrape| scrape.open("tcp") == 0.0;
    let scrape = proxy.metrics_until("all to be over", done).await;
    assert_eq!(scrape.check_balance(), Ok(()));
}

/// The two ends of one session through the proxy, in the test's own hands.
async fn session() -> (Proxy, Agent, Wire, Wire) {
    let (told, mut wires) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            // A connection without a byte is a probe of the proxy's own.
            if wire.more().await {
                let _ = told.send(wire);
            }
        }
    });
    let proxy = Proxy::tcp(agent.addr).start().await;
    let mut client = Wire::connect(proxy.addr("raw")).await.unwrap();
    client.send("hello").await.unwrap();
    let mut at_agent = within(10, "the connection at the agent", wires.recv())
        .await
        .unwrap();
    within(10, "a word", at_agent.exactly(5)).await.unwrap();
    (proxy, agent, client, at_agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_close_leaves_the_other_direction_open() {
    let (_proxy, _agent, mut client, mut agent) = session().await;
    client.send("question").await.unwrap();
    client.finish().await;
    let heard = within(10, "the client's end", agent.rest()).await;
    assert_eq!(heard, (b"question".to_vec(), End::Fin));
    assert!(
        client.stays_silent(Duration::from_millis(100)).await,
        "ended with the question"
    );
    agent.send("answer").await.unwrap();
    agent.finish().await;
    let heard = within(10, "the agent's end", client.rest()).await;
    assert_eq!(heard, (b"answer".to_vec(), End::Fin));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ends_first_can_still_be_spoken_to() {
    let (_proxy, _agent, mut client, mut agent) = session().await;
    agent.finish().await;
    assert_eq!(
        within(10, "the agent's end", client.rest()).await,
        (vec![], End::Fin)
    );
    client.send("last words").await.unwrap();
    client.finish().await;
    let heard = within(10, "the client's end", agent.rest()).await;
    assert_eq!(heard, (b"last words".to_vec(), End::Fin));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_client_reaches_the_agent_as_reset() {
    let (_proxy, _agent, mut client, mut agent) = session().await;
    client.send("half a").await.unwrap();
    within(10, "the bytes", agent.exactly(6)).await.unwrap();
    client.reset();
    assert_eq!(
        within(10, "the reset", agent.rest()).await,
        (vec![], End::Reset)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_agent_reaches_the_client_as_reset() {
    let (_proxy, _agent, mut client, mut agent) = session().await;
    agent.send("half a").await.unwrap();
    within(10, "the bytes", client.exactly(6)).await.unwrap();
    agent.reset();
    assert_eq!(
        within(10, "the reset", client.rest()).await,
        (vec![], End::Reset)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_read_stops_the_client_and_costs_no_memory() {
    let (proxy, _agent, mut client, mut agent) = session().await;
    let before = resident_bytes(&proxy);
    let piece = vec![7; 64 * 1024];
    let mut said = 0;
    while let Ok(Ok(written)) =
        tokio::time::timeout(Duration::from_secs(1), client.stream.write(&piece)).await
    {
        said += written;
        assert!(said < 1 << 30, "a gigabyte went out though nobody reads");
    }
    let grown = resident_bytes(&proxy).saturating_sub(before);
    println!("{said} bytes went out until backpressure; the proxy grew by {grown} bytes");
    assert!(grown < 4 << 20, "the proxy grew by {grown} bytes");
    client.finish().await;
    let (heard, end) = within(30, "all of it", agent.rest()).await;
    assert_eq!((heard.len(), end), (said, End::Fin));
}

/// The resident memory of the proxy, in bytes.
fn resident_bytes(proxy: &Proxy) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", proxy.pid)).unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
