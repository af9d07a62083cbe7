//! When the pump has its turn: when its sockets have something to say, when those who leave are to be
//! looked at, and in between when a crowd of tasks would keep it waiting.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::Events;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::watch;

use super::{Inner, Pump};

/// Events taken from the kernel at once, and so the sessions served before the worker's other
/// tasks have their turn.
const EVENTS: usize = 256;
/// So long after a turn of the pump other tasks give it one between two of theirs.
const BREATH: Duration = Duration::from_micros(50);
/// How often a session that was asked to go is looked at while nothing happens on it.
const LOOK: Duration = Duration::from_millis(5);

/// Where the pump hears of its sockets.
#[derive(Debug)]
pub(super) struct Sight {
    readiness: AsyncFd<mio::Poll>,
    events: Events,
    /// When it was looked at last.
    last: Instant,
}

impl Sight {
    /// Watches a readiness set.
    pub(super) fn new(poll: mio::Poll) -> io::Result<Sight> {
        Ok(Sight {
            readiness: watch::readable(poll)?,
            events: Events::with_capacity(EVENTS),
            last: Instant::now(),
        })
    }
}

impl Pump {
    /// Gives the sessions a turn if they have had none for a while. It is called between
    /// the turns of other tasks, so that a crowd of them holds nobody up.
    pub fn breathe(&self) {
        let mut inner = self.inner.borrow_mut();
        if inner.sessions.is_empty() {
            return;
        }
        let mut sight = self.sight.borrow_mut();
        if sight.last.elapsed() < BREATH {
            return;
        }
        let Sight {
            readiness,
            events,
            last,
        } = &mut *sight;
        // An error is found again by whoever drives the pump, and told there.
        let _ = attend(readiness.get_mut(), events, &mut inner);
        *last = Instant::now();
        if let (false, Some(waker)) = (inner.again.is_empty(), &inner.waker) {
            waker.wake_by_ref();
        }
    }
}

/// The pump's own task.
pub(super) async fn drive(pump: Pump) -> io::Result<()> {
    let mut look: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |cx| turn(&pump, &mut look, cx)).await
}

/// One turn: the events that are there, at most one batch of them, then the worker's other tasks.
fn turn(
    pump: &Pump,
    look: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut inner = pump.inner.borrow_mut();
    if !inner
        .waker
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        inner.waker = Some(cx.waker().clone());
    }
    inner.give_more();
    while !inner.leaving.is_empty() {
        let timer = look.get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        if timer.as_mut().poll(cx).is_pending() {
            break;
        }
        inner.look_at_the_leaving();
        timer.as_mut().reset(Instant::now() + LOOK);
    }
    if !inner.again.is_empty() {
        cx.waker().wake_by_ref();
    }
    let mut sight = pump.sight.borrow_mut();
    let Sight {
        readiness,
        events,
        last,
    } = &mut *sight;
    loop {
        let mut guard = ready!(readiness.poll_read_ready_mut(cx))?;
        let is_full = attend(guard.get_inner_mut(), events, &mut inner)?;
        *last = Instant::now();
        if is_full {
            // There may be more, but the others are waiting.
            guard.retain_ready();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        guard.clear_ready();
        if !inner.again.is_empty() {
            cx.waker().wake_by_ref();
        }
    }
}

/// Gives a turn to sessions that have something to do, one batch of them at most; true if there may be
/// more.
fn attend(poll: &mut mio::Poll, events: &mut Events, inner: &mut Inner) -> io::Result<bool> {
    while let Err(e) = poll.poll(events, Some(Duration::ZERO)) {
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
    let mut seen = 0;
    for event in &*events {
        seen += 1;
        inner.on_event(event);
    }
    Ok(seen == EVENTS)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::config::{Balance, CloseOrder, Endpoint, Goodbye, Upstream, UpstreamName};
    use crate::net::{Dialer, Endpoints, Seat};
    use crate::relay::{Speech, Tunnel};
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

    async fn seat() -> Seat {
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

    /// Nobody polls the pump itself here, as when a crowd of tasks is ready.
    #[tokio::test]
    async fn sessions_have_turns_between_those_of_other_tasks() {
        let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
        let ledger = Arc::new(Ledger::new(1, Durations::discarded()));
        let (mut client, outer) = pair();
        let (mut agent, inner) = pair();
        let tunnel = Tunnel {
            client_addr: outer.peer_addr().unwrap(),
            client: outer,
            client_tls: None,
            upstream: inner.into(),
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
        };
        pump.open(tunnel).unwrap();
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
}
