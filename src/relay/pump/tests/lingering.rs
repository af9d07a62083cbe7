//! The pump in a worker's runtime, which waits for it or leaves it to wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::thread::{self, JoinHandle};

use tokio::io::AsyncReadExt as _;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::time::{interval, sleep};

use super::*;
use crate::net::parking;

/// Runs a test as a worker runs, as long as it may take.
fn on_a_worker(test: impl AsyncFnOnce(&Pump)) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(parking::nothing_left_to_do)
        .build_local(LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let (pump, driver) = Pump::new(WorkerIndex(0)).unwrap();
        let _awake = parking::instead_of_sleep({
            let pump = pump.clone();
            move || pump.linger()
        });
        driven(pin!(driver), test(&pump)).await;
    });
}

/// A session on which something is said, and answered, all the time.
struct Chat {
    is_over: Arc<AtomicBool>,
    client: JoinHandle<usize>,
    agent: JoinHandle<usize>,
}

impl Chat {
    async fn begin(pump: &Pump) -> Chat {
        let (client, outer) = pair();
        let (agent, inner) = pair();
        pump.open(tunnel(outer, inner.into()).await).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let talks = {
            let (mut client, is_over) = (client, Arc::clone(&is_over));
            move || {
                let mut said = 0;
                while !is_over.load(Ordering::Relaxed) {
                    client.write_all(&[7]).unwrap();
                    client.read_exact(&mut [0]).unwrap();
                    said += 1;
                }
                said
            }
        };
        let answers = move || {
            let mut heard = 0;
            let (mut agent, mut word) = (agent, [0]);
            while agent.read(&mut word).unwrap() > 0 {
                agent.write_all(&word).unwrap();
                heard += 1;
            }
            heard
        };
        Chat {
            is_over,
            client: thread::spawn(talks),
            agent: thread::spawn(answers),
        }
    }

    /// Ends when both sides have seen it end.
    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (over, is_over) = oneshot::channel();
        thread::spawn(move || over.send((self.client.join(), self.agent.join())));
        let (said, heard) = is_over.await.unwrap();
        assert_eq!(said.unwrap(), heard.unwrap());
    }
}

/// Waits until the pump waits for the runtime, or the runtime for the pump again.
async fn until_outer(pump: &Pump, is_outer: bool) {
    let mut look = interval(Duration::from_millis(1));
    while pump.sight.borrow().is_outer() != is_outer {
        look.tick().await;
    }
}

#[test]
fn the_pump_waits_while_sessions_chat() {
    on_a_worker(async |pump| {
        assert!(!pump.sight.borrow().is_outer());
        for _ in 0..5 {
            let chat = Chat::begin(pump).await;
            until_outer(pump, true).await;
            chat.end().await;
            until_outer(pump, false).await;
        }
        assert!(pump.is_empty());
    });
}

#[test]
fn whatever_else_a_worker_does_goes_on_meanwhile() {
    on_a_worker(async |pump| {
        let chat = Chat::begin(pump).await;
        for _ in 0..10 {
            // What another thread says.
            until_outer(pump, true).await;
            let (tell, told) = oneshot::channel();
            let teller = thread::spawn(move || tell.send("news"));
            assert_eq!(told.await, Ok("news"));
            teller.join().unwrap().unwrap();
            // The runtime's own sockets.
            until_outer(pump, true).await;
            let (mut near, far) = pair();
            let mut far = tokio::net::TcpStream::from_std(far).unwrap();
            let mut heard = [0; 4];
            let asked = thread::spawn(move || near.write_all(b"head").map(|()| near));
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"head");
            drop(asked.join().unwrap().unwrap());
            // Timers.
            until_outer(pump, true).await;
            sleep(Duration::from_millis(3)).await;
            // Guests.
            until_outer(pump, true).await;
            let (mut agent, inner) = pair();
            let guest = pump.host(inner.into()).unwrap();
            let answered = thread::spawn(move || agent.write_all(b"answer").map(|()| agent));
            poll_fn(|cx| guest.poll_readable(cx)).await;
            assert_eq!(guest.read(<[u8]>::to_vec).unwrap(), b"answer");
            drop(answered.join().unwrap().unwrap());
        }
        chat.end().await;
    });
}

/// Sessions that have more to do than one turn allows keep the thread from ever waiting.
#[test]
fn much_to_do_for_one_holds_nobody_up() {
    on_a_worker(async |pump| {
        let chat = Chat::begin(pump).await;
        until_outer(pump, true).await;
        let (client, outer) = pair();
        let (agent, inner) = pair();
        pump.open(tunnel(outer, inner.into()).await).unwrap();
        const MUCH: usize = 20_000_000;
        let sends = thread::spawn(move || {
            let mut client = client;
            client.write_all(&vec![1; MUCH]).unwrap();
        });
        let (over, received) = oneshot::channel();
        thread::spawn(move || {
            let mut agent = agent;
            over.send(agent.read_to_end(&mut Vec::new()).unwrap())
        });
        assert_eq!(received.await, Ok(MUCH));
        sends.join().unwrap();
        chat.end().await;
    });
}

/// A pump that waits in the place of the runtime, and what drives it.
fn that_waits() -> (Pump, impl Future<Output = io::Result<()>>) {
    let (pump, driver) = Pump::new(WorkerIndex(0)).unwrap();
    let mut sight = pump.sight.borrow_mut();
    sight.form_habit();
    assert!(sight.is_to_wait());
    drop(sight);
    (pump, driver)
}

/// The thread never comes to wait then, where the others would be heard.
#[tokio::test]
async fn others_are_heard_while_one_has_more_to_do() {
    let (pump, driver) = that_waits();
    let (mut client, outer) = pair();
    let (_agent, inner) = pair();
    pump.open(tunnel(outer, inner.into()).await).unwrap();
    client.write_all(&[1; 128 * 1024]).unwrap();
    let looked = pump
        .sight
        .borrow_mut()
        .look(Duration::ZERO, &mut pump.inner.borrow_mut());
    looked.unwrap();
    let (mut answering, inner) = pair();
    let guest = pump.host(inner.into()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(guest.poll_readable(&cx).is_pending());
    answering.write_all(b"answer").unwrap();
    assert!(pin!(driver).poll(&mut cx).is_pending());
    assert!(!pump.inner.borrow().again.is_empty(), "it has no more");
    assert!(guest.poll_readable(&cx).is_ready());
}

#[tokio::test]
async fn a_wait_ends_when_a_session_does_that_had_more_to_do() {
    let (pump, _never_driven) = that_waits();
    let (client, outer) = pair();
    let (agent, inner) = pair();
    pump.open(tunnel(outer, inner.into()).await).unwrap();
    drop((client, agent));
    let mut inner = pump.inner.borrow_mut();
    for flow in &mut inner.slots[0].flows {
        flow.readable = true;
    }
    inner.queue(0);
    let mut sight = pump.sight.borrow_mut();
    assert!(sight.wait(&mut inner));
    assert!(sight.is_outer());
    assert_eq!(inner.slots.sessions(), 0);
}
