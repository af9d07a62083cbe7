//! Bodies: what comes in, with its limits, and what goes out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited, StreamBody};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::config::{Wrong, flag};

use super::problem::Problem;

/// The largest body of a request.
const LARGEST: usize = 16 * 1024;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest reason, in characters: it goes into every status and into the log.
const LONGEST_REASON: usize = 300;

/// Frames that are made when the client can take them.
pub(super) type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>>>>;

/// The body of an answer.
pub(super) type Body = Either<Full<Bytes>, StreamBody<Frames>>;

/// A body that is there as a whole.
pub(super) fn whole(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(whole(Bytes::from(bytes)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The answer for what has been made, with the place where it is now.
pub(super) fn created(at: &str, value: &impl Serialize) -> Response<Body> {
    let mut response = json(StatusCode::CREATED, value);
    if let Ok(at) = HeaderValue::from_str(at) {
        response.headers_mut().insert(LOCATION, at);
    }
    response
}

/// The fields of a JSON object, taken one by one; what is left over is unknown.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads a body; none at all is an object without fields.
    pub(super) async fn read<B>(body: B) -> Result<Fields, Problem>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let too_large = || {
            let detail = format!("a body has at most {LARGEST} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).last()
        };
        if body.size_hint().lower() > LARGEST as u64 {
            return Err(too_large());
        }
        match timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await {
            Ok(Ok(body)) => Fields::parse(&body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::bad_request("the body broke off").last()),
            Err(_) => {
                let detail = format!("the body did not come within {PATIENCE:?}");
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).last())
            }
        }
    }

    fn parse(bytes: &[u8]) -> Result<Fields, Problem> {
        if bytes.is_empty() {
            return Ok(Fields(BTreeMap::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Fields(fields.into_iter().collect())),
            Ok(_) => Err(Problem::bad_request("the body is JSON, but no object")),
            Err(error) => Err(Problem::bad_request(format!(
                "the body is no JSON: {error}"
            ))),
        }
    }

    /// A duration that is not zero.
    pub(super) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Problem> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        let Value::String(text) = value else {
            let detail = format!("{name}: expected a duration in quotes (help: write \"30s\")");
            return Err(Problem::bad_request(detail).at(name));
        };
        match flag::positive_duration(&text) {
            Ok(duration) => Ok(Some(duration)),
            Err(Wrong { what, help }) => {
                let detail = format!("{name}: {what} (help: {help})");
                Err(Problem::bad_request(detail).at(name))
            }
        }
    }

    /// Words that can be shown as they are: no control characters, and not too many.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let expected = format!(
            "{name}: expected 1 to {LONGEST_REASON} characters in quotes, none of them a control \
             character (help: write \"scale-in\")"
        );
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text))
                if (1..=LONGEST_REASON).contains(&text.chars().count())
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Some(text))
            }
            Some(_) => Err(Problem::bad_request(expected).at(name)),
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn done(self, known: &str) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(unknown) => {
                let detail = format!("{unknown:?} is not known here (help: there are {known})");
                Err(Problem::bad_request(detail))
            }
        }
    }
}

/// A field that must be there.
pub(super) fn required<T>(
    value: Option<T>,
    name: &'static str,
    example: &str,
) -> Result<T, Problem> {
    value.ok_or_else(|| {
        let detail = format!("{name}: is missing (help: write \"{name}\":\"{example}\")");
        Problem::bad_request(detail).at(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn detail(problem: Problem) -> (u16, Value) {
        let response = problem.into_response();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_with_its_field_and_the_way_out() {
        for (text, field, words) in [
            (r#"{"window":30}"#, Some("window"), "write \"30s\""),
            (
                r#"{"window":"30"}"#,
                Some("window"),
                "write the unit too: \"30s\"",
            ),
            (r#"{"window":"0s"}"#, Some("window"), "longer than zero"),
            (r#"{"window":"5M"}"#, Some("window"), "longer than 7 days"),
            (r#"{"reason":""}"#, Some("reason"), "1 to 300 characters"),
            (
                r#"{"reason":"\u001b[2J"}"#,
                Some("reason"),
                "none of them a control",
            ),
            (r#"{"reason":["a"]}"#, Some("reason"), "in quotes"),
            (r#"{"widnow":"1s"}"#, None, "there are window and reason"),
            ("[]", None, "no object"),
            ("{", None, "is no JSON"),
            (
                &format!("{}{}", "[".repeat(9000), "]".repeat(9000)),
                None,
                "at most 16384",
            ),
            (&"[".repeat(9000), None, "is no JSON"),
        ] {
            let read = async {
                let mut fields = Fields::read(Full::new(Bytes::from(text.to_owned()))).await?;
                fields.duration("window")?;
                fields.text("reason")?;
                fields.done("window and reason")
            };
            let (status, told) = detail(read.await.unwrap_err()).await;
            assert!(matches!(status, 400 | 413), "{text}: {status}");
            assert_eq!(told["field"].as_str(), field, "{text}");
            let said = told["detail"].as_str().unwrap();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[tokio::test]
    async fn no_body_is_no_fields() {
        let mut fields = Fields::read(Full::new(Bytes::new())).await.unwrap();
        assert_eq!(fields.duration("window").unwrap(), None);
        fields.done("none").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, Infallible>,
        >());
        let (status, _) = detail(Fields::read(never).await.unwrap_err()).await;
        assert_eq!(status, 408);
    }
}
