//! The instance's metadata service, version 2.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use super::environment::Environment;
use crate::lifecycle::call::Failed;
use crate::lifecycle::desk::Desk;

/// The service is on the machine itself; who waits longer waits for nobody.
const LIMIT: Duration = Duration::from_secs(1);
/// As long as a token may be good for, in seconds; the service says when it has forgotten one.
const TOKEN_TTL: &str = "21600";
/// The name of these calls.
const CALL: &str = "imds";

/// Why nothing is known from the metadata service.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silent {
    #[error("the metadata service is switched off by AWS_EC2_METADATA_DISABLED")]
    Off,
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error(
        "it gives no token within {LIMIT:?}. From a container this means as a rule that the \
         answer may make one hop only: set HttpPutResponseHopLimit to 2 (aws ec2 \
         modify-instance-metadata-options)"
    )]
    NoToken,
    #[error("it answers with HTTP {0}")]
    Status(u16),
}

impl Silent {
    fn label(&self) -> &'static str {
        match self {
            Silent::Off => "off",
            Silent::Failed(failed) => failed.label(),
            Silent::NoToken => "timeout",
            Silent::Status(_) => "status",
        }
    }
}

/// Speaks to the metadata service.
#[derive(Debug)]
pub(super) struct Imds {
    desk: Desk,
    url: Option<String>,
    token: Mutex<Option<String>>,
}

impl Imds {
    pub(super) fn new(desk: &Desk, environment: &Environment) -> Imds {
        Imds {
            desk: desk.clone(),
            url: environment.metadata(),
            token: Mutex::default(),
        }
    }

    /// Whether it may be asked at all.
    pub(super) fn is_on(&self) -> bool {
        self.url.is_some()
    }

    /// What stands below `/latest/meta-data/`; nothing where nothing stands.
    ///
    /// # Errors
    /// When it is not known whether something stands there.
    pub(super) async fn get(&self, path: &str) -> Result<Option<String>, Silent> {
        let Some(url) = &self.url else {
            return Err(Silent::Off);
        };
        let went = self.ask(url, path).await;
        let judged = went.as_ref().map(|_| ());
        self.desk.went(
            CALL,
            judged.map_err(|silent| (silent.label(), silent.to_string())),
        );
        went
    }

    async fn ask(&self, url: &str, path: &str) -> Result<Option<String>, Silent> {
        let url = format!("{url}/latest/meta-data/{path}");
        // Twice, since a token may have been forgotten.
        for _ in 0..2 {
            let token = self.token().await?;
            let asked = request(Method::GET, &url, "x-aws-ec2-metadata-token", &token)?;
            let answer = self.desk.send(asked, LIMIT).await?;
            match answer.status() {
                StatusCode::OK => {
                    let text = String::from_utf8_lossy(answer.body());
                    return Ok(Some(text.trim().to_owned()));
                }
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::UNAUTHORIZED => self.keep(None),
                other => return Err(Silent::Status(other.as_u16())),
            }
        }
        Err(Silent::Status(StatusCode::UNAUTHORIZED.as_u16()))
    }

    async fn token(&self) -> Result<String, Silent> {
        let kept = self
            .token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(token) = kept {
            return Ok(token);
        }
        let base = self.url.as_deref().unwrap_or_default();
        let url = format!("{base}/latest/api/token");
        let wanted = request(
            Method::PUT,
            &url,
            "x-aws-ec2-metadata-token-ttl-seconds",
            TOKEN_TTL,
        )?;
        let answer = match self.desk.send(wanted, LIMIT).await {
            Err(Failed::Timeout(_)) => return Err(Silent::NoToken),
            answer => answer?,
        };
        if answer.status() != StatusCode::OK {
            return Err(Silent::Status(answer.status().as_u16()));
        }
        let token = String::from_utf8_lossy(answer.body()).trim().to_owned();
        self.keep(Some(token.clone()));
        Ok(token)
    }

    fn keep(&self, token: Option<String>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

fn request(method: Method, url: &str, name: &str, value: &str) -> Result<Request<Bytes>, Failed> {
    Request::builder()
        .method(method)
        .uri(url)
        .header(name, value)
        .body(Bytes::new())
        .map_err(|error| Failed::Broken(error.into()))
}
