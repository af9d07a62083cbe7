//! An agent's hooks: what is called, and what is answered.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::watch;

use super::Agent;

/// An agent that notes each call of a hook, and answers with 200 and a body by its path.
pub struct HookAgent {
    /// The listening part.
    pub agent: Agent,
    calls: watch::Sender<Vec<Call>>,
}

/// What is answered at the path `/NAME`; everywhere else it is an empty body.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The name.
    pub hook: &'static str,
    /// The body; none for no answer at all.
    pub body: Option<&'static str>,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// The path without its slash.
    pub hook: String,
    /// The method and the content type.
    pub form: String,
    /// The body.
    pub body: Value,
    /// When it came.
    pub at: Instant,
}

impl HookAgent {
    /// Starts it.
    pub fn start(answers: &'static [Answer]) -> HookAgent {
        let calls = watch::Sender::new(Vec::new());
        let noted = calls.clone();
        let agent = Agent::start(move |_, stream| {
            let noted = noted.clone();
            async move {
                let service = service_fn(move |request| answer(request, noted.clone(), answers));
                let http = hyper::server::conn::http1::Builder::new();
                // How a connection ends is for the proxy to judge.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        });
        HookAgent { agent, calls }
    }

    /// The calls so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// The calls of one hook so far.
    pub fn calls_of(&self, hook: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.hook == hook);
        calls
    }

    /// Waits until a hook has been called so often. Unbounded.
    pub async fn has_been_called(&self, count: usize, hook: &str) {
        let enough =
            |calls: &Vec<Call>| calls.iter().filter(|call| call.hook == hook).count() >= count;
        let _ = self.calls.subscribe().wait_for(enough).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: watch::Sender<Vec<Call>>,
    answers: &'static [Answer],
) -> Result<Response<Full<Bytes>>, Infallible> {
    let at = Instant::now();
    let hook = request.uri().path().trim_start_matches('/').to_owned();
    let kind = request.headers().get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    let form = format!("{} {}", request.method(), kind.unwrap_or_default());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).expect("a body in JSON");
    let planned = answers.iter().find(|answer| answer.hook == hook);
    calls.send_modify(|calls| {
        calls.push(Call {
            hook,
            form,
            body,
            at,
        });
    });
    match planned {
        None => Ok(Response::default()),
        Some(Answer {
            body: Some(body), ..
        }) => Ok(Response::new(Full::from(*body))),
        Some(Answer { body: None, .. }) => std::future::pending().await,
    }
}
