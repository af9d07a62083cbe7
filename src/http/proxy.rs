//! One request, from its head to the head of its response.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, TE, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::net::DialError;
use crate::session::{Kind, Outcome, Refusal};

use super::admission::{Destination, is_event_source};
use super::agent_body::AgentBody;
use super::body::{Ending, Never, ResponseBody};
use super::conn::Conn;
use super::event_boundary::EventBoundary;
use super::fields::{self, Origin};
use super::pool::{AgentError, Answer};
use super::problem::{last_problem, problem, too_late};
use super::request_body::RequestBody;
use super::server::Site;
use super::stickiness;
use super::toll::Toll;
use super::upgrade;

/// How long the first chunk of a body is waited for before the agent hears of the request. What
/// comes along with the head is checked by then; a client that waits for an answer before it sends
/// its body is not held up for long.
const FIRST_CHUNK: Duration = Duration::from_millis(20);

/// Passes a request on and its response back.
pub(super) async fn forward(
    site: Rc<Site>,
    conn: Rc<Conn>,
    origin: Rc<Origin>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Never> {
    let upgrade = fields::requested_upgrade(&request);
    let has_said_all =
        request.body().is_end_stream() && upgrade.is_none() && fields::is_last(&request);
    conn.wire
        .note_has_said_all(has_said_all && conn.told().is_none());
    let subscription = request.method() == Method::GET;
    let to = request.extensions().get().copied();
    let peer = site.peer.as_ref().filter(|_| to == Some(Destination::Peer));
    let is_event_source = peer.is_some() && is_event_source(&request);

    let to_peer = peer.is_some();
    if let Err(detail) = prepare(&site, &origin, &mut request, upgrade.as_ref(), to_peer) {
        return Ok(bad_request(&site, &conn, detail));
    }
    let expects = request.headers().contains_key(EXPECT);
    let is_chunked =
        !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH);
    let first = match is_chunked && !expects {
        true => first_frame(request.body_mut()).await,
        false => Ok(None),
    };
    let first = match first {
        Ok(first) => first,
        Err(detail) => return Ok(bad_request(&site, &conn, detail)),
    };
    // From here on in one place until it is written: a head is large to move about.
    let mut request = request.map(|body| RequestBody::new(body, first));
    request.body_mut().charge(Toll::of(&site, &conn));
    if expects {
        ask_first(&mut request);
    }
    let agent = peer.unwrap_or_else(|| site.agent_of(&request));
    let key = stickiness::key_of(
        agent.dialer().balance(),
        request.headers(),
        conn.client.ip(),
    );
    let goes_to = |endpoint| conn.endpoint.set(Some(endpoint));
    let client = conn.proxied.as_deref();
    let sent = agent.send(&mut request, key, goes_to, client).await;
    let (mut response, lease) = match sent {
        Ok(Answer::Response(response, lease)) => {
            conn.note_upstream(lease.upstream());
            (response.map(AgentBody::Hyper), Some(lease))
        }
        Ok(Answer::Whole(response, _, upstream)) => {
            conn.note_upstream(upstream.as_ref());
            (response.map(AgentBody::Whole), None)
        }
        Ok(Answer::Events(response, upstream)) => {
            conn.note_upstream(upstream.as_ref());
            let response = response.map(|stream| AgentBody::Events(Box::new(stream)));
            (response, None)
        }
        Ok(Answer::Switched(_)) if upgrade.is_none() => return Ok(unasked(&conn)),
        Ok(Answer::Switched(switched)) => {
            conn.note_upstream(switched.upstream.as_ref());
            return Ok(upgrade::accept_switched(&site, &conn, switched));
        }
        Err(AgentError::Dial(e)) if peer.is_some() => {
            tracing::debug!(client.addr = %conn.client, error = %e, "no peer");
            site.ledger.refused(site.listener, Refusal::Draining);
            conn.complete(Outcome::Failed);
            return Ok(too_late(is_event_source, site.sse_retry));
        }
        Err(e) => return Ok(refusal(&site, &conn, &e)),
    };

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(_), Some(lease)) = (upgrade, lease) else {
            return Ok(unasked(&conn));
        };
        return Ok(upgrade::accept(&site, &conn, response, lease));
    }

    let version = response.version();
    let headers = response.headers_mut();
    fields::strip_hop_by_hop(headers);
    fields::write_via(headers, site.settings.via.as_deref());
    let ending = match fields::is_event_stream(headers) {
        false => Ending::Never,
        true => {
            conn.open(Kind::Sse);
            let resumable = subscription && !headers.contains_key(CONTENT_LENGTH);
            conn.resumable.set(resumable);
            match (resumable, headers.contains_key(CONTENT_ENCODING)) {
                (false, _) => Ending::Never,
                (true, false) => Ending::AfterEvent {
                    boundary: EventBoundary::new(),
                    retry: site.sse_retry,
                },
                (true, true) => Ending::Anywhere,
            }
        }
    };
    if version < Version::HTTP_11 {
        *response.version_mut() = Version::HTTP_11;
    }
    Ok(response.map(|body| ResponseBody::passing(body, conn, lease, ending)))
}

/// Makes of a client's head the one that the agent gets, or the peer.
fn prepare<B>(
    site: &Site,
    origin: &Origin,
    request: &mut Request<B>,
    upgrade: Option<&HeaderValue>,
    to_peer: bool,
) -> Result<(), &'static str> {
    to_origin_form(request)?;
    *request.version_mut() = Version::HTTP_11;
    request.extensions_mut().clear();
    let headers = request.headers_mut();
    let trailers = fields::takes_trailers(headers);
    fields::strip_hop_by_hop(headers);
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol.clone());
        let value = if trailers { "upgrade, te" } else { "upgrade" };
        headers.insert(CONNECTION, HeaderValue::from_static(value));
    }
    fields::write_origin(headers, origin, site.settings.forwarded);
    if let Some(name) = site.subject_header() {
        fields::write_subject(headers, origin, name);
    }
    fields::write_via(headers, site.settings.via.as_deref());
    if to_peer {
        fields::write_passed_on(headers);
    }
    Ok(())
}

/// Has the body wait until the agent wants it.
fn ask_first(request: &mut Request<RequestBody>) {
    let (go, asked) = mpsc::unbounded_channel();
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            // A body that has gone needs no word.
            let _ = go.send(());
        }
    });
    request.body_mut().wait_for_go(asked);
}

/// Our answer to a request that must not be passed on.
fn bad_request(site: &Site, conn: &Conn, detail: &'static str) -> Response<ResponseBody> {
    site.ledger.refused(site.listener, Refusal::BadRequest);
    conn.wire.note_refused();
    conn.complete(Outcome::Failed);
    last_problem(StatusCode::BAD_REQUEST, detail)
}

/// Our answer in the place of a 101 that the client has not asked for.
fn unasked(conn: &Conn) -> Response<ResponseBody> {
    conn.complete(Outcome::Failed);
    let detail = "the agent switched protocols without being asked";
    last_problem(StatusCode::BAD_GATEWAY, detail)
}

/// Requests go to the agent in origin form; an absolute target takes the place of the Host field
/// (RFC 9112 3.2.2).
fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| "the authority of the request target is not a host")?;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

/// The first frame of a chunked body, if it comes soon.
async fn first_frame(body: &mut Incoming) -> Result<Option<Frame<Bytes>>, &'static str> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    match timeout(FIRST_CHUNK, frame).await {
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(_))) => Err("the body is not validly chunked"),
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Our answer in the place of the agent's.
fn refusal(site: &Site, conn: &Conn, error: &AgentError) -> Response<ResponseBody> {
    let status = match error {
        AgentError::Dial(DialError::Timeout { .. }) | AgentError::Timeout(_) => {
            StatusCode::GATEWAY_TIMEOUT
        }
        AgentError::Dial(DialError::Nowhere { .. }) => StatusCode::SERVICE_UNAVAILABLE,
        AgentError::Dial(_) | AgentError::Broken(_) | AgentError::Malformed(_) => {
            StatusCode::BAD_GATEWAY
        }
        AgentError::RequestBody(_) => StatusCode::BAD_REQUEST,
        AgentError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let why = match error {
        AgentError::RequestBody(_) => Refusal::BadRequest,
        AgentError::TooLarge => Refusal::RequestBody,
        _ => Refusal::Upstream,
    };
    // A body that is too large was counted when it was.
    if why != Refusal::RequestBody {
        site.ledger.refused(site.listener, why);
    }
    conn.complete(Outcome::Failed);
    tracing::debug!(client.addr = %conn.client, %error, "no answer from the agent");
    // Where the agent is and what the system says of it is the operator's business: it is in the
    // log.
    let detail = match error {
        AgentError::Dial(DialError::Nowhere { .. }) => {
            "no agent behind this proxy takes new sessions"
        }
        AgentError::Dial(DialError::Timeout { .. }) => {
            "the agent behind this proxy could not be reached in time"
        }
        AgentError::Dial(_) => "the agent behind this proxy cannot be reached",
        AgentError::Broken(_) => "the agent closed the connection before it answered",
        AgentError::Malformed(_) => "the agent's answer is not valid HTTP/1.1",
        AgentError::Timeout(_) => "the agent did not answer in time",
        AgentError::RequestBody(_) => "the request body is incomplete or malformed",
        AgentError::TooLarge => "the request body is larger than this proxy takes",
    };
    if let Refusal::BadRequest | Refusal::RequestBody = why {
        conn.wire.note_refused();
        last_problem(status, detail)
    } else {
        problem(status, detail)
    }
}
