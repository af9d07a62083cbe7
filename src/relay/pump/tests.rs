//! The pump on real sockets.

#[cfg(target_os = "linux")]
mod lingering;
mod refused;

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use socket2::Socket;
use tokio::time::timeout;

use super::slots::News;
use super::turns::MUCH;
use super::*;
use crate::config::{Balance, CloseOrder, Endpoint, Goodbye, Upstream, UpstreamName};
use crate::net::{Dialer, Endpoints};
use crate::session::metrics::Durations;
use crate::session::{Ledger, ListenerIndex, WorkerIndex};

const GOODBYE: Goodbye = Goodbye {
    close_code: 1012,
    close_reason: String::new(),
    close_order: CloseOrder::Auto,
    close_patience: None,
    announcement: None,
    announce_ahead: Duration::ZERO,
};

/// Both ends of a connection; the second does not block.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let limit = Some(Duration::from_secs(10));
    near.set_read_timeout(limit).unwrap();
    let far = listener.accept().unwrap().0;
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// A place on an agent's endpoint.
pub(crate) async fn seat() -> Seat {
    let endpoints = Endpoints::new(
        0,
        &Upstream {
            name: UpstreamName("agent".into()),
            endpoints: vec![Endpoint("127.0.0.1:1".into())],
            connect_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            balance: Balance::Least,
            slow_start: Duration::ZERO,
            resolve_interval: Duration::ZERO,
            check: None,
            eject: None,
            tls: None,
            edge: Default::default(),
        },
    );
    let dialer = Dialer::new(Arc::new(endpoints));
    dialer.choose(None, &[]).await.unwrap()
}

/// What is handed over of raw TCP.
async fn tunnel(client: TcpStream, upstream: Socket) -> Tunnel {
    let ledger = Arc::new(Ledger::new(1, Durations::discarded()));
    Tunnel {
        client_addr: client.peer_addr().unwrap(),
        client,
        client_tls: None,
        upstream,
        upstream_tls: None,
        seat: seat().await,
        to_upstream: Default::default(),
        to_client: Default::default(),
        speech: Speech::Bytes,
        goodbye: Rc::new(GOODBYE),
        connected: ledger.connected(ListenerIndex(0)),
        counted: None,
        client_key: None,
        ticket: None,
        max_message: None,
    }
}

/// A session of raw TCP: its client, and its agent.
pub(crate) async fn session(pump: &Pump) -> (TcpStream, TcpStream) {
    let (client, outer) = pair();
    let (agent, inner) = pair();
    pump.open(tunnel(outer, inner.into()).await).unwrap();
    (client, agent)
}

#[tokio::test]
async fn who_has_much_to_do_leaves_time_for_others_in_between() {
    const MANY: usize = 32;
    let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
    let mut ends = Vec::new();
    for _ in 0..MANY {
        let (mut client, agent) = session(&pump).await;
        client.write_all(&[1; 512 * 1024]).unwrap();
        ends.push((client, agent));
    }
    let mut inner = pump.inner.borrow_mut();
    let looked = pump.sight.borrow_mut().look(Duration::ZERO, &mut inner);
    looked.unwrap();
    assert_eq!(
        inner.again.len(),
        MANY,
        "have more to do than their turn allowed"
    );
    let passed_on = |inner: &Inner| -> Vec<u64> {
        let sessions = inner.slots.iter();
        sessions
            .map(|(_, session)| session.flows[0].bytes)
            .collect()
    };
    let before = passed_on(&inner);
    inner.give_more();
    let after = passed_on(&inner);
    let served = before.iter().zip(&after).filter(|(b, a)| b < a).count();
    assert!(served > 0 && served < MANY, "{served} in a row");
    // Whoever has had no turn yet is next.
    for _ in served..MANY {
        inner.give_more();
    }
    let last = passed_on(&inner);
    let forgotten = before.iter().zip(&last).filter(|(b, l)| b == l).count();
    assert_eq!(forgotten, 0, "have had no turn");
}

#[tokio::test]
async fn who_moves_much_has_its_turn_behind_the_others() {
    let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
    let mut ends = Vec::new();
    for _ in 0..2 {
        ends.push(session(&pump).await);
    }
    let mut inner = pump.inner.borrow_mut();
    let mut sight = pump.sight.borrow_mut();
    let much = vec![1; usize::try_from(MUCH).unwrap() + 1];
    let mut said = |inner: &mut Inner, bytes: [&[u8]; 2]| -> Vec<u64> {
        for ((client, _), bytes) in ends.iter_mut().zip(bytes) {
            client.write_all(bytes).unwrap();
        }
        sight.look(Duration::ZERO, inner).unwrap();
        let sessions = inner.slots.iter();
        sessions.map(|(_, session)| session.moved()[0]).collect()
    };
    let all = much.len() as u64;
    assert_eq!(
        said(&mut inner, [&much, b"a"]),
        [all, 1],
        "nobody knows it yet"
    );
    assert_eq!(said(&mut inner, [b"b", b"b"]), [all, 2]);
    assert_eq!(said(&mut inner, [b"c", b"c"]), [all, 3]);
    assert_eq!(inner.again.len(), 1, "it waits in one place");
    inner.give_more();
    assert_eq!(inner.slots[0].moved()[0], all + 2);
    assert_eq!(
        said(&mut inner, [b"d", b"d"]),
        [all + 3, 4],
        "it was little"
    );
}

/// Nobody polls the pump itself here, as when a crowd of tasks is ready.
#[tokio::test]
async fn sessions_have_turns_between_those_of_other_tasks() {
    let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
    let (mut client, mut agent) = session(&pump).await;
    client.write_all(b"anybody").unwrap();
    agent.set_nonblocking(true).unwrap();
    let mut heard = [0; 7];
    let begun = Instant::now();
    while agent.read(&mut heard).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no turn");
        pump.breathe();
    }
    assert_eq!(&heard, b"anybody");
    agent.write_all(b"nobody").unwrap();
    drop(agent);
    client.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    while client.read_to_end(&mut answer).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no turn");
        pump.breathe();
    }
    assert_eq!(answer, b"nobody");
}

const SOON: Duration = Duration::from_secs(10);

/// Polls a future while the pump is driven, as long as a test may take.
async fn driven<T>(
    driver: impl Future<Output = io::Result<()>>,
    test: impl Future<Output = T>,
) -> T {
    tokio::select! {
        biased;
        end = driver => panic!("the pump has ended: {end:?}"),
        end = timeout(SOON, test) => end.expect("nobody is woken"),
    }
}

#[tokio::test]
async fn who_waits_for_an_agents_answer_is_woken() {
    let (pump, driver) = Pump::new(WorkerIndex(0)).unwrap();
    let (mut agent, inner) = pair();
    let guest = pump.host(inner.into()).unwrap();
    let nothing = guest.read(<[u8]>::to_vec).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    let waiting = async {
        poll_fn(|cx| guest.poll_readable(cx)).await;
        guest.read(<[u8]>::to_vec).unwrap()
    };
    let answering = async { agent.write_all(b"answer").unwrap() };
    let both = async { tokio::join!(waiting, answering).0 };
    let driver = pin!(driver);
    assert_eq!(driven(driver, both).await, b"answer");
}

/// What comes after the answer was read and before the session begins is told of by no further edge.
#[tokio::test]
async fn nothing_is_lost_that_comes_before_the_session_begins() {
    for is_last in [false, true] {
        let (pump, driver) = Pump::new(WorkerIndex(0)).unwrap();
        let (mut agent, inner) = pair();
        let (mut client, outer) = pair();
        let guest = pump.host(inner.into()).unwrap();
        let slot = guest.slot();
        let relaying = async {
            agent.write_all(b"answer").unwrap();
            poll_fn(|cx| guest.poll_readable(cx)).await;
            assert_eq!(guest.read(<[u8]>::len).unwrap(), 6);
            agent.write_all(b"more").unwrap();
            if is_last {
                agent.shutdown(Shutdown::Write).unwrap();
            }
            poll_fn(|cx| guest.poll_readable(cx)).await;
            let is_heard = |news: &mut News| news.hung_up || (news.readable && !is_last);
            while !pump
                .inner
                .borrow_mut()
                .slots
                .news(slot)
                .is_some_and(is_heard)
            {
                tokio::task::yield_now().await;
            }
            let (upstream, place) = guest.into_parts();
            let tunnel = tunnel(outer, upstream).await;
            pump.open_at(place, tunnel).unwrap();
            client.set_nonblocking(true).unwrap();
            let (mut heard, mut piece) = (Vec::new(), [0; 64]);
            while heard.len() < 4 || is_last {
                match client.read(&mut piece) {
                    Ok(0) => break,
                    Ok(n) => heard.extend_from_slice(&piece[..n]),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            heard
        };
        let heard = driven(driver, relaying).await;
        assert_eq!(heard, b"more", "{is_last}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_last_from_their_beginning() {
    let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
    assert!(!pump.has_lasting(Duration::ZERO));
    let _ends = session(&pump).await;
    assert!(!pump.has_lasting(Duration::from_secs(1)));
    tokio::time::advance(Duration::from_secs(1)).await;
    let _others = session(&pump).await;
    assert!(pump.has_lasting(Duration::from_secs(1)));
    assert!(!pump.has_lasting(Duration::from_secs(2)));
}

#[tokio::test]
async fn a_guest_is_no_session_and_its_place_is_given_up() {
    let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
    let (_agent, inner) = pair();
    let guest = pump.host(inner.into()).unwrap();
    let slot = guest.slot();
    assert!(pump.is_empty());
    assert!(pump.list(0, 10).facts.is_empty());
    assert!(pump.cut(&Whom::All).cut.is_empty());
    drop(guest);
    let (_agent, inner) = pair();
    let guest = pump.host(inner.into()).unwrap();
    assert_eq!(guest.slot(), slot);
    let socket = guest.into_socket().unwrap();
    // Nobody has it in a readiness set any more.
    let again = pump.host(socket).unwrap();
    assert_eq!(again.slot(), slot);
    let (_client, outer) = pair();
    let (upstream, place) = again.into_parts();
    let tunnel = tunnel(outer, upstream).await;
    pump.open_at(place, tunnel).unwrap();
    assert_eq!(pump.len(), 1);
    assert_eq!(pump.list(0, 10).facts.len(), 1);
}
