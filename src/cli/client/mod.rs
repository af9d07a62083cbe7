//! The commands' side of the control API: one question, or a stream of events, over HTTP/1.1.

mod error;
mod events;
mod report;
mod target;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

pub(super) use error::Error;
pub(super) use events::{Event, Events};
pub(super) use report::Report;
pub(super) use target::Target;
use wire::Address;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Speaks to one proxy.
#[derive(Clone, Debug)]
pub(super) struct Client {
    address: Address,
    host: HeaderValue,
    bearer: Option<HeaderValue>,
}

/// An answer that grants what was asked.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Strange(error.to_string()))
    }
}

impl Client {
    /// Asks for what a path shows.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.ask(Method::GET, path, None).await?.read()
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When the proxy cannot be reached, or says no: then in its own words.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let asked = async {
            let mut wire = wire::open(&self.address).await?;
            let response = wire.send(self.request(method, path, body)?).await?;
            let (head, body) = response.into_parts();
            let body = wire.drive(body.collect()).await?.to_bytes();
            granted(head.status, body)
        };
        let answer = timeout(PATIENCE, asked).await;
        answer
            .unwrap_or(Err(wire::Broken::Slow(PATIENCE).into()))
            .map_err(|error| error.at(&self.address))
    }

    /// Opens the stream of events.
    pub(super) async fn events(&self) -> Result<Events, Error> {
        let asked = async {
            let mut wire = wire::open(&self.address).await?;
            let request = self.request(Method::GET, "/v1/events", None)?;
            let response = wire.send(request).await?;
            if response.status() == StatusCode::OK {
                return Ok(Events::new(wire, response.into_body()));
            }
            let status = response.status();
            let body = wire.drive(response.into_body().collect()).await?.to_bytes();
            Err(granted(status, body).map_or_else(
                |error| error,
                |_| Error::Strange(format!("it answered {status} to a request for events")),
            ))
        };
        let opened = timeout(PATIENCE, asked).await;
        opened
            .unwrap_or(Err(wire::Broken::Slow(PATIENCE).into()))
            .map_err(|error| error.at(&self.address))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(bytes.unwrap_or_default()))
            .map_err(|error| Error::Strange(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        Ok(request)
    }
}

fn granted(status: StatusCode, body: Bytes) -> Result<Answer, Error> {
    if status.is_success() {
        return Ok(Answer { status, body });
    }
    let problem: Option<Value> = serde_json::from_slice(&body).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem["detail"].as_str());
    let detail = detail.map(super::words::printable);
    Err(Error::Refused { status, detail })
}
