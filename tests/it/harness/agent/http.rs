//! A small HTTP agent on hyper.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use super::super::wire::Wire;
use super::{Agent, Vacancy, parameter};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// An agent that answers by path:
/// `/echo` with the request's body, `/slow?ms=N` late, `/chunked?n=N` in chunks, `/events?every=MS`
/// with an endless event stream, `/events?every=MS&n=N` with a short one, `/hang` not at all, and
/// everything else with a greeting. It knows no upgrades: it answers them with 403.
pub struct HttpAgent {
    /// The listening part.
    pub agent: Agent,
    requests: watch::Sender<Vec<Seen>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path and query.
    pub path: String,
}

impl HttpAgent {
    /// Starts it.
    pub fn start() -> HttpAgent {
        HttpAgent::at(Vacancy::new())
    }

    /// Starts it at a port that was taken before.
    pub fn at(vacancy: Vacancy) -> HttpAgent {
        let requests = watch::Sender::new(Vec::new());
        let seen = requests.clone();
        let agent = Agent::at(vacancy, move |_, stream| {
            let seen = seen.clone();
            async move {
                let service = service_fn(move |request| answer(request, seen.clone()));
                let http = hyper::server::conn::http1::Builder::new();
                // How a connection ends is for the clients to judge.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        });
        HttpAgent { agent, requests }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.requests.borrow().clone()
    }

    /// Waits until so many requests have come whose path begins like this. Unbounded.
    pub async fn has_seen(&self, count: usize, path: &str) {
        let enough = |seen: &Vec<Seen>| {
            seen.iter()
                .filter(|request| request.path.starts_with(path))
                .count()
                >= count
        };
        let _ = self.requests.subscribe().wait_for(enough).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: watch::Sender<Vec<Seen>>,
) -> Result<Answer, Infallible> {
    let path = request.uri().to_string();
    seen.send_modify(|seen| seen.push(Seen { path: path.clone() }));
    let number = |key| parameter(&path, key);
    if request.headers().contains_key("upgrade") {
        return Ok(with_status(StatusCode::FORBIDDEN, full("no upgrades here")));
    }
    Ok(match path.split('?').next().unwrap_or_default() {
        "/echo" => {
            let body = request.into_body().collect().await;
            match body {
                Ok(body) => Response::new(full(body.to_bytes())),
                Err(_) => with_status(StatusCode::BAD_REQUEST, full("half a body")),
            }
        }
        "/slow" => {
            let length = Duration::from_millis(number("ms").unwrap_or(500));
            tokio::time::sleep(length).await;
            Response::new(full("at last"))
        }
        "/chunked" => {
            let chunks = stream::iter(0..number("n").unwrap_or(10));
            Response::new(streamed(chunks.map(|n| format!("chunk {n}\n"))))
        }
        "/events" => events(number("every").unwrap_or(100), number("n")),
        "/hang" => std::future::pending().await,
        _ => Response::new(full("hello")),
    })
}

fn events(every: u64, count: Option<u64>) -> Answer {
    let mut pace = tokio::time::interval(Duration::from_millis(every));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let events = stream::unfold((0, pace), move |(number, mut pace)| async move {
        pace.tick().await;
        let event = format!("id: {number}\ndata: event {number}\n\n");
        count
            .is_none_or(|count| number < count)
            .then_some((event, (number + 1, pace)))
    });
    let mut answer = Response::new(streamed(events));
    answer
        .headers_mut()
        .insert("content-type", "text/event-stream".parse().unwrap());
    answer
}

fn full(bytes: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(bytes.into()).boxed()
}

fn streamed(
    parts: impl stream::Stream<Item = String> + Send + Sync + 'static,
) -> BoxBody<Bytes, Infallible> {
    BodyExt::boxed(StreamBody::new(
        parts.map(|part| Ok(Frame::data(Bytes::from(part)))),
    ))
}

fn with_status(status: StatusCode, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// An agent that answers with its name.
pub fn named(name: &'static str) -> Agent {
    named_at(name, Vacancy::new())
}

/// [`named`] at a port that was taken before.
pub fn named_at(name: &'static str, vacancy: Vacancy) -> Agent {
    Agent::at(vacancy, move |_, stream| async move {
        let mut wire = Wire::new(stream);
        while wire.next_request().await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", name.len());
            let _ = wire.send(head + name).await;
        }
    })
}
