//! Answers of our own: short problem details (RFC 9457), and what goes with them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::session::{Refusal, Refused};

use super::body::ResponseBody;
use super::retry::{retry, some_number};

/// A problem details response that does not close the connection.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response<ResponseBody> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = Response::new(ResponseBody::whole(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The same, as the last response of its connection.
pub(super) fn last_problem(status: StatusCode, detail: &str) -> Response<ResponseBody> {
    let mut response = problem(status, detail);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The same answer, as the last of its connection.
pub(super) fn last(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// The answer to a client that takes more than it may: 429 (RFC 6585 4), or 503 where it is not the
/// client's own doing.
pub(super) fn too_many(refused: Refused) -> Response<ResponseBody> {
    let (status, detail) = match refused.why {
        Refusal::Sessions => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this proxy serves as many sessions as it may",
        ),
        Refusal::ClientSessions => (
            StatusCode::TOO_MANY_REQUESTS,
            "this client has as many sessions as it may",
        ),
        Refusal::ConnectionRate => (
            StatusCode::TOO_MANY_REQUESTS,
            "this client makes too many connections",
        ),
        _ => (
            StatusCode::TOO_MANY_REQUESTS,
            "this client makes too many requests",
        ),
    };
    let mut response = problem(status, detail);
    let wait = HeaderValue::from(refused.retry_after);
    response.headers_mut().insert(RETRY_AFTER, wait);
    response
}

/// The answer to a request whose body is too large (RFC 9110 15.5.14).
pub(super) fn too_large() -> Response<ResponseBody> {
    let detail = "the request body is larger than this proxy takes";
    last_problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// The refusal of a new session: 503, with a time to come back that differs from client to client,
/// for the same number for all is a storm later (RFC 9110 10.2.3).
pub(super) fn come_back_later(detail: &str) -> Response<ResponseBody> {
    let mut response = last_problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(1 + some_number() % 5));
    response
}

/// The answer to who comes while a drain takes nobody any more; `longest` is `drain.sse_retry`.
pub(super) fn too_late(is_event_source: bool, longest: Duration) -> Response<ResponseBody> {
    if is_event_source {
        reconnect_stream(longest)
    } else {
        come_back_later("this instance is being drained; another one will answer")
    }
}

/// An event stream that holds one `retry:` and ends: a browser never comes back after a 503
/// (HTML, "Server-sent events", processing model).
fn reconnect_stream(longest: Duration) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(retry(longest).unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
