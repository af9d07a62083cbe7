//! The agent's HTTP: a page, a quick and a slow answer, and the doors to WebSocket and SSE.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Desk, sse, websocket};
use crate::cli::demo::book::Entry;
use crate::cli::demo::ledger::Traffic;

/// The field that bears the number of a request of the demo's clients in its response.
pub(in crate::cli::demo) const NUMBER: &str = "demo-number";

/// What `/slow` takes when it is not told, and the most that it can be told.
const SLOW: Duration = Duration::from_millis(1500);
const SLOWEST: Duration = Duration::from_secs(60);

/// A page on which a browser chats with the agent.
const PAGE: &str = include_str!("page.html");

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves one connection until its end.
pub(super) async fn serve(socket: TcpStream, desk: Desk) {
    let service = service_fn(|request| answer(request, desk.clone()));
    // A client that hangs up is an error to hyper, and an ordinary end to the agent.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>, desk: Desk) -> Result<Response<Body>, Infallible> {
    if request.method() != Method::GET {
        return Ok(text(
            StatusCode::METHOD_NOT_ALLOWED,
            "This agent knows only GET.\n",
        ));
    }
    let asked = Asked::read(request.uri().query().unwrap_or_default());
    Ok(match request.uri().path() {
        "/" => {
            let entry = desk.book.open(asked.id, Traffic::Http);
            let mut response = whole(StatusCode::OK, PAGE, "text/html; charset=utf-8");
            number(&mut response, entry, asked.number);
            response
        }
        "/slow" => {
            let entry = desk.book.open(asked.id, Traffic::Slow);
            let length = asked.length.unwrap_or(SLOW).min(SLOWEST);
            tokio::time::sleep(length).await;
            let mut response = text(StatusCode::OK, "Slow, but here.\n");
            number(&mut response, entry, asked.number);
            response
        }
        "/ws" => {
            let traffic = if asked.push {
                Traffic::Push
            } else {
                Traffic::Chat
            };
            websocket::upgrade(request, &desk, asked.id, traffic)
        }
        "/events" => sse::subscribe(desk.book.open(asked.id, Traffic::Sse)),
        _ => text(
            StatusCode::NOT_FOUND,
            "Here are /, /ws, /events and /slow?ms=1500.\n",
        ),
    })
}

/// Writes a request and its response into the book. The agent counts the response as sent when it
/// hands it to hyper: from there on nothing but a broken connection keeps it from the client.
fn number(response: &mut Response<Body>, mut entry: Entry, number: Option<u64>) {
    if let Some(number) = number {
        entry.side.received.note(number);
        entry.side.sent.note(Instant::now());
        response
            .headers_mut()
            .insert(NUMBER, HeaderValue::from(number));
    }
}

pub(super) fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    whole(status, body, "text/plain; charset=utf-8")
}

fn whole(status: StatusCode, body: &'static str, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(body).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What a query string asks for; what cannot be read is as if it were not there.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    /// `id`: the session, in the client's book.
    id: Option<u32>,
    /// `n`: the number of this request.
    number: Option<u64>,
    /// `ms`: how long to take.
    length: Option<Duration>,
    /// `mode=push`: the agent sends unasked.
    push: bool,
}

impl Asked {
    fn read(query: &str) -> Asked {
        let mut asked = Asked::default();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "id" => asked.id = value.parse().ok(),
                "n" => asked.number = value.parse().ok(),
                "ms" => asked.length = value.parse().ok().map(Duration::from_millis),
                "mode" => asked.push = value == "push",
                _ => {}
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_far_as_it_makes_sense() {
        assert_eq!(
            Asked::read("id=7&n=3&ms=20&mode=push"),
            Asked {
                id: Some(7),
                number: Some(3),
                length: Some(Duration::from_millis(20)),
                push: true
            }
        );
        assert_eq!(Asked::read("id=-1&&n=&ms=soon&mode=&x"), Asked::default());
        assert_eq!(Asked::read(""), Asked::default());
    }
}
