//! The gate in front of hyper itself, over an in-memory pipe.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::super::END;
use super::{BAD_BODIES, BAD_HEADS, CHUNKED, Gate, LEFT_TO_HYPER, Refusal, entries, unmarked};

/// How reads cut the client's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reads {
    Whole,
    Bytewise,
    /// One read up to here, and then whole.
    CutAt(usize),
}

/// The client's socket as hyper reads it: through a gate (or none), and ended behind a refusal.
struct Gated<T> {
    inner: T,
    gate: Option<Gate>,
    reads: Reads,
    taken: usize,
    /// What is left of [`END`] once the gate has refused.
    end: Option<&'static [u8]>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Gated<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(end) = &mut this.end {
            let (now, later) = end.split_at(end.len().min(out.remaining()));
            out.put_slice(now);
            *end = later;
            return Poll::Ready(Ok(()));
        }
        let limit = match this.reads {
            Reads::Bytewise => 1,
            Reads::CutAt(cut) if this.taken < cut => cut - this.taken,
            _ => out.remaining(),
        };
        let mut buffer = vec![0; limit.min(out.remaining())];
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
        let bytes = read.filled_mut();
        this.taken += bytes.len();
        if this
            .gate
            .as_mut()
            .is_some_and(|gate| gate.admit(bytes).is_some())
        {
            this.end = Some(END);
        }
        out.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gated<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A request that reached the service: its path, and its body if that came whole.
pub(super) type Served = (String, Option<Vec<u8>>);

/// What a client that sends `bytes` gets to see, and what the service did.
pub(super) struct Course {
    pub served: Vec<Served>,
    pub answer: String,
}

/// Serves one client that sends `bytes` and, if `then_ends`, the end of its stream. Returns when the
/// server has closed the connection, and fails if it does not.
pub(super) async fn serve(bytes: &[u8], reads: Reads, gated: bool, then_ends: bool) -> Course {
    let served: Rc<RefCell<Vec<Served>>> = Rc::default();
    let (mut client, server) = tokio::io::duplex(bytes.len() + 64 * 1024);
    client.write_all(bytes).await.unwrap();
    if then_ends {
        client.shutdown().await.unwrap();
    }
    let service = service_fn(|request: Request<Incoming>| {
        let served = served.clone();
        async move {
            let path = request.uri().path().to_owned();
            let at = served.borrow().len();
            served.borrow_mut().push((path, None));
            if let Ok(body) = request.into_body().collect().await {
                served.borrow_mut()[at].1 = Some(body.to_bytes().to_vec());
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let gate = gated.then(Gate::new);
    let io = TokioIo::new(Gated {
        inner: server,
        gate,
        reads,
        taken: 0,
        end: None,
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(io, service);
    let mut answer = String::new();
    let both = async {
        // A refusal is an error of the connection; what matters is what the client was sent.
        let _ = connection.await;
        client.read_to_string(&mut answer).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap_or_else(|_| panic!("not closed: {:?} {reads:?}", String::from_utf8_lossy(bytes)));
    Course {
        served: served.take(),
        answer,
    }
}

fn all_reads(len: usize) -> impl Iterator<Item = Reads> {
    [Reads::Whole, Reads::Bytewise]
        .into_iter()
        .chain((1..len).map(Reads::CutAt))
}

#[tokio::test]
async fn a_refused_head_is_answered_400_and_never_served() {
    for (text, why) in entries(BAD_HEADS) {
        let bytes = unmarked(text).into_bytes();
        for reads in all_reads(bytes.len()) {
            let course = serve(&bytes, reads, true, false).await;
            assert_eq!(course.served, [], "{text:?} {why:?} {reads:?}");
            assert!(
                course.answer.starts_with("HTTP/1.1 400 "),
                "{text:?} {reads:?}"
            );
            assert!(
                course.answer.contains("connection: close"),
                "{text:?} {reads:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_left_to_hyper_is_answered_400_and_never_served() {
    for text in LEFT_TO_HYPER {
        assert_eq!(super::admit(text.as_bytes(), &[]).1, None, "{text:?}");
        for reads in all_reads(text.len()) {
            let course = serve(text.as_bytes(), reads, true, true).await;
            assert_eq!(course.served, [], "{text:?} {reads:?}");
            assert!(
                course.answer.starts_with("HTTP/1.1 400 "),
                "{text:?} {reads:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_head_behind_a_good_request_leaves_that_one_alone() {
    for (text, why) in entries(BAD_HEADS) {
        let bad = unmarked(text);
        let bytes = format!("GET /good HTTP/1.1\r\nHost: a\r\n\r\n{bad}");
        for reads in [Reads::Whole, Reads::Bytewise] {
            let course = serve(bytes.as_bytes(), reads, true, false).await;
            assert_eq!(
                course.served,
                [("/good".to_owned(), Some(vec![]))],
                "{text:?} {why:?}"
            );
            assert!(
                course.answer.starts_with("HTTP/1.1 200 "),
                "{text:?} {reads:?}"
            );
            assert_eq!(
                course.answer.matches("HTTP/1.1 400 ").count(),
                1,
                "{text:?} {reads:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_chunk_fails_the_body_and_nothing_behind_it_is_served() {
    for (text, why) in entries(BAD_BODIES) {
        let bytes = format!("{CHUNKED}{}GET /smuggled HTTP/1.1\r\n\r\n", unmarked(text));
        for reads in all_reads(bytes.len()) {
            let course = serve(bytes.as_bytes(), reads, true, false).await;
            assert_eq!(
                course.served,
                [("/chunked".to_owned(), None)],
                "{text:?} {why:?} {reads:?}"
            );
        }
    }
}

/// The reason for the gate: without it these reach the service. One that no longer does may be a
/// change in hyper to learn from.
#[tokio::test]
async fn hyper_alone_serves_what_the_gate_refuses() {
    let mut alone = Vec::new();
    for (text, why) in entries(BAD_HEADS) {
        let bytes = unmarked(text).into_bytes();
        if !serve(&bytes, Reads::Whole, false, true)
            .await
            .served
            .is_empty()
        {
            alone.push(why);
        }
    }
    for why in [
        Refusal::BareLf,
        Refusal::ContentLengthTwice,
        Refusal::ContentLengthWithTransferEncoding,
        Refusal::TransferEncoding,
        Refusal::FramingLookalike,
    ] {
        assert!(
            alone.contains(&why),
            "{why:?} is refused by hyper itself: {alone:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_ends_inside_a_head_is_not_served() {
    let course = serve(b"GET / HTTP/1.1\r\nHost", Reads::Bytewise, true, true).await;
    assert_eq!((course.served.len(), course.answer.as_str()), (0, ""));
}
