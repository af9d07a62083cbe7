//! The cloud's door: takes a request, finds whom it is for, notes it, and answers.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::fault::{self, Fault};
use super::form::{self, Fields};
use super::{Shared, azure, balancing, ecs, gcp, imds, queue, scaling, signature, xml};
use crate::harness::agent::Agent;

/// A request that has come whole.
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    /// `imds`, `autoscaling` and so on.
    pub service: &'static str,
    /// What is called.
    pub action: String,
    /// What came in the query, the form or the JSON body.
    pub fields: Fields,
    pub body: Bytes,
}

impl Ask {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What was sent as this field.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// What is answered.
pub struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    /// A status and a text.
    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer {
            status,
            kind: "text/plain",
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// 200 and JSON.
    pub fn json(body: String) -> Answer {
        Answer {
            kind: "application/json",
            ..Answer::text(200, body)
        }
    }

    /// An error of a JSON protocol.
    pub fn json_error(status: u16, kind: &str) -> Answer {
        let body = json!({"__type": kind, "message": "refused"});
        Answer {
            status,
            ..Answer::json(body.to_string())
        }
    }

    /// 200 and XML.
    pub fn xml(body: String) -> Answer {
        Answer {
            kind: "text/xml",
            ..Answer::text(200, body)
        }
    }
}

/// Opens the door.
pub fn listen(world: Shared) -> Agent {
    Agent::start(move |_, stream| {
        let world = world.clone();
        async move {
            let service = service_fn(move |request| serve(world.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            // How a connection ends is for the proxy to judge.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    })
}

/// An error ends the connection.
async fn serve(
    world: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?;
    let ask = addressed(head, body.to_bytes());
    let name = format!("{}.{}", ask.service, ask.action);
    let (number, fault) = world.change(|world| {
        let number = world.notes.asked(name.clone(), ask.fields.clone());
        (number, world.fault_of(ask.service, &name))
    });
    let answer = match fault {
        Some(Fault::Down) => return Err(std::io::Error::other("down")),
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            right(&world, &ask).await
        }
        Some(fault) => fault::answer(ask.service, fault),
        None => right(&world, &ask).await,
    };
    world.change(|world| {
        world.notes.answered(number, answer.status, &answer.body);
    });
    let mut response = Response::builder()
        .status(answer.status)
        .header("content-type", answer.kind);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(answer.body)).unwrap())
}

/// Whom a request is for.
fn addressed(head: Parts, body: Bytes) -> Ask {
    let path = head.uri.path().to_owned();
    let mut fields = form::parse(head.uri.query().unwrap_or_default());
    let target = head.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok()?.strip_prefix("AmazonSQS."));
    let after = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    let (service, action) = if let Some(action) = target {
        fields = form::parse_json(&body).unwrap_or_default();
        ("sqs", action.to_owned())
    } else if let Some(rest) = after("/latest/") {
        ("imds", rest)
    } else if let Some(rest) = after("/metadata/") {
        ("azure", format!("{} {rest}", head.method))
    } else if let Some(rest) = after("/computeMetadata/v1/") {
        ("gcp", rest)
    } else if let Some(rest) = after("/api/task/") {
        fields.extend(form::parse_json(&body).unwrap_or_default());
        ("ecs", format!("{} {rest}", head.method))
    } else if let Some(rest) = after("/v4/task") {
        ("ecs", format!("{} metadata{rest}", head.method))
    } else {
        fields.extend(form::parse(&String::from_utf8_lossy(&body)));
        let service = match fields.get("Version").map(String::as_str) {
            Some("2011-01-01") => "autoscaling",
            Some("2015-12-01") => "elasticloadbalancing",
            Some("2011-06-15") => "sts",
            _ => "nobody",
        };
        let action = fields.remove("Action").unwrap_or_else(|| path.clone());
        fields.remove("Version");
        (service, action)
    };
    Ask {
        method: head.method,
        path,
        headers: head.headers,
        service,
        action,
        fields,
        body,
    }
}

/// The answer when nothing is made to go wrong.
async fn right(world: &Shared, ask: &Ask) -> Answer {
    match ask.service {
        "imds" => return world.change(|world| imds::answer(world, ask)),
        "ecs" => return world.change(|world| ecs::answer(world, ask)),
        "azure" => return world.change(|world| azure::answer(world, ask)),
        "gcp" => return gcp::answer(world, ask).await,
        _ => {}
    }
    if let Err(refused) = world.change(|world| signature::check(world, ask)) {
        return refused;
    }
    match ask.service {
        "autoscaling" => world.change(|world| scaling::answer(world, ask)),
        "elasticloadbalancing" => world.change(|world| balancing::answer(world, ask)),
        "sqs" => queue::answer(world, ask).await,
        _ => world.change(|world| unknown(world, ask)),
    }
}

/// The answer to what no service of ours knows.
pub fn unknown(world: &mut super::World, ask: &Ask) -> Answer {
    let what = format!("{} {}: no such call: {}", ask.method, ask.path, ask.action);
    world.complaints.push(what);
    xml::error(400, "InvalidAction", "Could not find the operation")
}
