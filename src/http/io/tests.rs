use std::future::poll_fn;
use std::io::{IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::net::PlainStream;
use crate::relay::session;
use crate::session::WorkerIndex;
use crate::session::metrics::Durations;

/// A client, and its connection as hyper has it, beside the sessions of a pump.
fn connection(pump: &Pump, wire: Wire) -> (TcpStream, ClientIo) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = listener.accept().unwrap().0;
    socket.set_nonblocking(true).unwrap();
    let ledger = Arc::new(Ledger::new(1, Durations::discarded()));
    let stream = ClientStream::Plain(PlainStream::new(socket));
    let (tarpit, pump) = (Tarpit::new(1), pump.clone());
    let io = ClientIo::new(
        stream,
        Arc::new(wire),
        ledger,
        ListenerIndex(0),
        tarpit,
        pump,
    );
    (client, io)
}

fn empty_pump() -> Pump {
    Pump::new(WorkerIndex(0)).unwrap().0
}

/// Whether a connection is over as soon as it is shut down, its client having said all or not.
fn is_over_at_once(has_said_all: bool) -> bool {
    let wire = Wire::new();
    wire.note_has_said_all(has_said_all);
    let (_client, mut io) = connection(&empty_pump(), wire);
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(&mut io).poll_shutdown(&mut cx).is_ready()
}

#[tokio::test]
async fn only_a_client_that_may_say_more_is_waited_for() {
    assert!(is_over_at_once(true));
    assert!(!is_over_at_once(false));
}

/// The most that is read at once of much, and written, and written of pieces.
async fn at_once(client: &mut TcpStream, io: &mut ClientIo) -> [usize; 3] {
    const MUCH: usize = 4 * PIECE;
    client.write_all(&vec![b'a'; MUCH]).unwrap();
    let (mut left, mut most) = (MUCH, 0);
    while left > 0 {
        let mut room = vec![0; MUCH];
        let mut buf = ReadBuf::new(&mut room);
        poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut buf))
            .await
            .unwrap();
        left -= buf.filled().len();
        most = most.max(buf.filled().len());
    }
    let much = vec![b'a'; MUCH];
    let pieces: Vec<_> = much.chunks(PIECE / 2).map(IoSlice::new).collect();
    let whole = poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, &much));
    let whole = whole.await.unwrap();
    let of_pieces = poll_fn(|cx| Pin::new(&mut *io).poll_write_vectored(cx, &pieces));
    let of_pieces = of_pieces.await.unwrap();
    let mut answer = vec![0; whole + of_pieces];
    client.read_exact(&mut answer).unwrap();
    [most, whole, of_pieces]
}

#[tokio::test]
async fn sessions_have_a_turn_behind_each_piece() {
    let pump = empty_pump();
    let (mut client, mut io) = connection(&pump, Wire::new());
    let most = at_once(&mut client, &mut io).await;
    assert!(most.iter().all(|it| *it > PIECE), "{most:?}");
    let (mut asking, mut agent) = session(&pump).await;
    agent.set_nonblocking(true).unwrap();
    asking.write_all(b"anybody").unwrap();
    let mut heard = [0; 7];
    let begun = std::time::Instant::now();
    while agent.read(&mut heard).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no turn");
        let most = at_once(&mut client, &mut io).await;
        assert!(most.iter().all(|it| *it <= PIECE), "{most:?}");
    }
    assert_eq!(&heard, b"anybody");
}

#[test]
fn pieces_that_are_too_much_together_are_written_one_after_the_other() {
    let [small, large] = [&[0; 10][..], &[0; 100][..]].map(IoSlice::new);
    let lengths = |most, pieces: &[_]| up_to(most, pieces).iter().map(|it| it.len()).collect();
    let all: Vec<usize> = lengths(usize::MAX, &[small, large, small]);
    assert_eq!(all, [10, 100, 10]);
    let all: Vec<usize> = lengths(110, &[small, large, small]);
    assert_eq!(all, [10, 100]);
    let all: Vec<usize> = lengths(10, &[small, large, small]);
    assert_eq!(all, [10]);
    let all: Vec<usize> = lengths(11, &[small, large, small]);
    assert_eq!(all, [10, 100], "a small one does not go alone");
    let all: Vec<usize> = lengths(99, &[large, small]);
    assert_eq!(all, [100]);
}

#[tokio::test]
async fn sessions_have_a_turn_while_a_client_is_not_listened_to() {
    let pump = empty_pump();
    let (mut client, mut io) = connection(&pump, Wire::new());
    let (mut asking, mut agent) = session(&pump).await;
    agent.set_nonblocking(true).unwrap();
    asking.write_all(b"anybody").unwrap();
    let mut heard = [0; 7];
    let begun = std::time::Instant::now();
    while agent.read(&mut heard).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no turn");
        client.write_all(&[b'a'; WASTE]).unwrap();
        let ended = poll_fn(|cx| {
            let ended = Pin::new(&mut io).poll_shutdown(cx);
            Poll::Ready(ended.is_ready())
        });
        assert!(!ended.await);
        tokio::task::yield_now().await;
    }
    assert_eq!(&heard, b"anybody");
}
