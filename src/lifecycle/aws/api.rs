//! Signed calls of the cloud's services, repeated where that helps.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{Request, Response, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::clock::Clock;
use super::credentials::Keychain;
use super::environment::{Environment, Service};
use super::fault::Fault;
use super::form::{FORM, Form};
use super::imds::Imds;
use super::sign::sign;
use crate::lifecycle::backoff::Backoff;
use crate::lifecycle::desk::Desk;

/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How often a call is tried that may pass.
const ATTEMPTS: usize = 4;
/// Between two attempts.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Service,
    /// What is called, for the metric.
    pub(super) name: &'static str,
    pub(super) body: Body,
    /// How long one attempt may take, if not as long as usual.
    pub(super) limit: Option<Duration>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Form(Form),
    /// An operation, by the name it has in its header, and what it is given.
    Json(&'static str, serde_json::Value),
}

/// Makes calls.
#[derive(Debug)]
pub(super) struct Api {
    desk: Desk,
    pub(super) environment: Arc<Environment>,
    pub(super) imds: Imds,
    pub(super) clock: Arc<Clock>,
    keychain: Keychain,
    region: OnceCell<String>,
}

impl Api {
    pub(super) fn new(desk: &Desk, environment: Environment) -> Api {
        let environment = Arc::new(environment);
        let clock = Arc::new(Clock::default());
        Api {
            desk: desk.clone(),
            imds: Imds::new(desk, &environment),
            keychain: Keychain::new(desk, &environment, &clock),
            environment,
            clock,
            region: OnceCell::new(),
        }
    }

    /// Makes a call, and gives the body of its answer. Where the same call may succeed a little
    /// later it is repeated; fresh credentials and a corrected clock are tried once each.
    ///
    /// # Errors
    /// What came of the last attempt.
    pub(super) async fn call(&self, call: &Call) -> Result<Bytes, Fault> {
        let region = self.region().await?;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let (mut attempts, mut renewed, mut corrected) = (0, false, false);
        loop {
            let credentials = self.keychain.get(&self.imds, region).await?;
            let answered = self.attempt(call, region, &credentials).await;
            attempts += 1;
            let (fault, date) = match answered {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            if fault.is_expired() && !renewed {
                renewed = true;
                self.keychain.refused(&credentials);
            } else if fault.may_be_the_clock()
                && !corrected
                && date.is_some_and(|date| self.clock.correct(&date))
            {
                corrected = true;
            } else if fault.may_pass() && attempts < ATTEMPTS {
                sleep(backoff.next()).await;
            } else {
                return Err(fault);
            }
        }
    }

    /// One attempt; a failure comes with the date of the answer, if there was one.
    async fn attempt(
        &self,
        call: &Call,
        region: &str,
        credentials: &Credentials,
    ) -> Result<Bytes, (Fault, Option<String>)> {
        let sent = async {
            let mut request = self.request(call, region)?;
            sign(
                &mut request,
                credentials,
                call.service,
                region,
                self.clock.now(),
            )?;
            let limit = call.limit.unwrap_or(LIMIT);
            Ok::<_, Fault>(self.desk.send(request, limit).await?)
        };
        let went = match sent.await {
            Ok(answer) if answer.status() == StatusCode::OK => Ok(answer.into_body()),
            Ok(answer) => {
                let fault = Fault::refused(answer.status().as_u16(), answer.body());
                Err((fault, date(&answer)))
            }
            Err(fault) => Err((fault, None)),
        };
        let judged = match &went {
            // The action is over, and the service has said so: it works.
            Err((fault, _)) if !fault.is_over() => Err((fault.label(), fault.to_string())),
            _ => Ok(()),
        };
        self.desk.went(call.name, judged);
        went
    }

    fn request(&self, call: &Call, region: &str) -> Result<Request<Bytes>, Fault> {
        let endpoint = self.environment.endpoint(call.service, region);
        let request = Request::post(format!("{endpoint}/"));
        let request = match call.body.clone() {
            Body::Form(form) => request
                .header(CONTENT_TYPE, FORM)
                .body(Bytes::from(form.text())),
            Body::Json(operation, value) => request
                .header(CONTENT_TYPE, call.service.json())
                .header("x-amz-target", operation)
                .body(Bytes::from(value.to_string())),
        };
        request.map_err(|error| Fault::Unsound(error.to_string()))
    }

    /// The region: a variable's, or the instance's own.
    async fn region(&self) -> Result<&str, Fault> {
        let found = self.region.get_or_try_init(async || {
            if let Some(region) = self.environment.region() {
                return Ok(region);
            }
            let region = self.imds.get("placement/region").await;
            region.ok().flatten().ok_or(Fault::NoRegion)
        });
        found.await.map(String::as_str)
    }
}

fn date(answer: &Response<Bytes>) -> Option<String> {
    let date = answer.headers().get(DATE)?;
    date.to_str().ok().map(str::to_owned)
}
