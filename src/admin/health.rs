//! The health listener's answers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::session::{ListenerIndex, Phase};

use super::exposition::Exposition;
use super::readiness::Readiness;
use super::server::Answers;

/// The longest that `/drained` waits, and what it waits without a `timeout` of its own: the
/// longest deregistration delay there is.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What the health listener answers from.
#[derive(Clone, Debug)]
pub struct Health {
    /// Readiness.
    pub readiness: Readiness,
    /// Metrics.
    pub exposition: Exposition,
}

type Answer = Response<Full<Bytes>>;

impl Answers for Health {
    type Body = Full<Bytes>;

    /// Probes and scrapers are few.
    const CONNECTIONS: usize = 24;

    const PATIENCE: Duration = Duration::from_secs(75);

    async fn answer(&self, request: Request<Incoming>, _: Option<SocketAddr>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, body) = readiness(&self.readiness, None);
                respond(status, "application/json", body)
            }
            "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                respond(StatusCode::OK, kind, Bytes::from(self.exposition.render()))
            }
            "/drained" => self.drained(request.uri().query()).await,
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /livez, /readyz, /metrics and /drained\n",
            ),
        }
    }
}

impl Health {
    /// Answers when a drain has begun and is over.
    async fn drained(&self, query: Option<&str>) -> Answer {
        let limit = match query.and_then(|query| query.strip_prefix("timeout=")) {
            None => LONGEST_WAIT,
            Some(limit) => match humantime::parse_duration(limit) {
                Ok(limit) => limit.min(LONGEST_WAIT),
                Err(_) => {
                    return text(
                        StatusCode::BAD_REQUEST,
                        "timeout is a duration such as 30s\n",
                    );
                }
            },
        };
        let mut phase = self.readiness.phase.clone();
        let over = phase.wait_for(|view| view.phase == Phase::Drained);
        match timeout(limit, over).await {
            // A phase that nobody writes any more is that of a process that ends.
            Ok(_) => text(StatusCode::OK, "drained\n"),
            Err(_) => text(StatusCode::REQUEST_TIMEOUT, "not drained yet\n"),
        }
    }
}

/// The status and the JSON body of readiness, as `/readyz` and `health_path` give them.
/// On a listener, its own drain counts too.
pub fn readiness(readiness: &Readiness, listener: Option<ListenerIndex>) -> (StatusCode, Bytes) {
    let answer = readiness.now(listener);
    let status = if answer.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Bytes::from(serde_json::to_vec(&answer).unwrap_or_default()),
    )
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    respond(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(body.as_bytes()),
    )
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
