//! Which call is answered by what.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::drain::{Answer, Refused, Request as Wish, Trigger};
use crate::session::Part;

use super::body::{self, Body, Fields};
use super::problem::Problem;
use super::{Control, events, guard, part, report};

/// A path of the API; what varies in it is an id.
enum Path<'r> {
    Status,
    Drain,
    Report,
    Reload,
    Sessions,
    Session(&'r str),
    Holds,
    Hold(&'r str),
    Events,
    Upstreams,
    /// What follows `upstreams/`.
    Endpoint(&'r str),
}

impl<'r> Path<'r> {
    fn of(path: &'r str) -> Option<Path<'r>> {
        Some(match path.strip_prefix("/v1/")? {
            "status" => Path::Status,
            "drain" => Path::Drain,
            "drain/report" => Path::Report,
            "reload" => Path::Reload,
            "sessions" => Path::Sessions,
            "holds" => Path::Holds,
            "events" => Path::Events,
            "upstreams" => Path::Upstreams,
            other => match other.split_once('/')? {
                ("sessions", id) => Path::Session(id),
                ("holds", id) => Path::Hold(id),
                ("upstreams", endpoint) => Path::Endpoint(endpoint),
                _ => return None,
            },
        })
    }

    fn allowed(&self) -> &'static str {
        match self {
            Path::Status | Path::Report | Path::Sessions | Path::Upstreams => "GET, HEAD",
            Path::Drain | Path::Endpoint(_) => "POST, DELETE",
            Path::Session(_) => "GET, HEAD, DELETE",
            Path::Holds | Path::Reload => "POST",
            Path::Hold(_) => "PUT, DELETE",
            Path::Events => "GET",
        }
    }
}

impl Control {
    /// Answers a call, or says why not.
    pub(super) async fn route(
        &self,
        request: Request<Incoming>,
        local: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let (parts, body) = request.into_parts();
        guard::check(&parts, &self.bound, local, self.settings.token.as_ref())?;
        // After the guard: who may not call uses up no calls of those who may.
        if !self.takes_another() {
            // Read all the same, so that the connection is good for the next.
            let _ = Fields::read(body).await;
            return Err(Problem::too_many());
        }
        let path = Path::of(parts.uri.path()).ok_or_else(|| {
            Problem::not_found(
                "there are status, drain, sessions, holds, upstreams, reload and events under /v1/",
            )
        })?;
        let allowed = path.allowed();
        if !allowed.split(", ").any(|method| method == parts.method) {
            return Err(Problem::method(allowed));
        }
        // Of every call, so that the connection is good for the next.
        let mut fields = Fields::read(body).await?;
        if !matches!(parts.method, Method::POST | Method::PUT) {
            std::mem::take(&mut fields).done("no fields in this call")?;
        }
        let mut response = match (&parts.method, path) {
            (_, Path::Status) => body::json(StatusCode::OK, &self.status()),
            (&Method::POST, Path::Drain) => self.start_drain(fields).await?,
            (_, Path::Drain) => self.cancel_drain(parts.uri.query()).await?,
            (_, Path::Report) => {
                let report = self.reports.borrow().clone();
                let report = report.ok_or_else(|| Problem::not_found("there was no drain yet"))?;
                body::json(
                    StatusCode::OK,
                    &report::Whole::of(&report, &self.drain.borrow()),
                )
            }
            (_, Path::Reload) => {
                fields.done("no fields in this call")?;
                self.reload().await?
            }
            (_, Path::Sessions) => self.list_sessions(parts.uri.query()).await?,
            (&Method::DELETE, Path::Session(id)) => self.end_session(id).await?,
            (_, Path::Session(id)) => self.show_session(id).await?,
            (_, Path::Holds) => self.take_hold(fields)?,
            (&Method::DELETE, Path::Hold(id)) => self.give_back_hold(id)?,
            (_, Path::Hold(id)) => self.prolong_hold(id, fields)?,
            (_, Path::Upstreams) => body::json(StatusCode::OK, &self.list_upstreams()),
            (&Method::POST, Path::Endpoint(path)) => {
                let part = self.endpoint(path)?;
                self.start_endpoint_drain(part, fields).await?
            }
            (_, Path::Endpoint(path)) => {
                let part = self.endpoint(path)?;
                self.cancel(Some(part)).await?
            }
            (_, Path::Events) => self.events()?,
        };
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        Ok(response)
    }

    fn takes_another(&self) -> bool {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.take(Instant::now())
    }

    async fn start_drain(&self, mut fields: Fields) -> Result<Response<Body>, Problem> {
        let window = fields.duration("window")?;
        let reason = fields.text("reason")?;
        let part = part::in_fields(&mut fields, &self.roster)?;
        fields.done("window, reason, listener and share")?;
        self.start(part, window, reason).await
    }

    async fn start_endpoint_drain(
        &self,
        part: Part,
        mut fields: Fields,
    ) -> Result<Response<Body>, Problem> {
        let window = fields.duration("window")?;
        let reason = fields.text("reason")?;
        fields.done("window and reason")?;
        self.start(Some(part), window, reason).await
    }

    async fn start(
        &self,
        part: Option<Part>,
        window: Option<Duration>,
        reason: Option<String>,
    ) -> Result<Response<Body>, Problem> {
        let wish = Wish {
            trigger: Trigger::Api,
            part,
            window,
            reason,
            looks_away: false,
        };
        match self.asks.ask(wish).await {
            Ok(Answer::Started(_)) => Ok(body::json(StatusCode::ACCEPTED, &self.status())),
            Ok(_) => Ok(body::json(StatusCode::OK, &self.status())),
            Err(refused) => Err(problem(refused)),
        }
    }

    async fn cancel_drain(&self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let part = part::in_query(query, &self.roster)?;
        self.cancel(part).await
    }

    async fn cancel(&self, part: Option<Part>) -> Result<Response<Body>, Problem> {
        match self.asks.cancel(part).await {
            Ok(_) => Ok(body::json(StatusCode::OK, &self.status())),
            Err(refused) => Err(problem(refused)),
        }
    }

    fn events(&self) -> Result<Response<Body>, Problem> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let detail = "as many event streams are open as there may be; ask for the status";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        let frames = events::frames(self.clone(), permit);
        let mut response = Response::new(Either::Right(frames));
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }
}

fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Longer | Refused::Another | Refused::NothingToCancel => {
            Problem::conflict(refused.to_string())
        }
        Refused::Gone => Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()).last(),
    }
}
