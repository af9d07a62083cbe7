//! What is answered when a call is not granted: problem details (RFC 9457).

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::config::Finding;

use super::body::{self, Body};

/// Why a call was not granted.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// The field of the request that is wrong.
    field: Option<&'static str>,
    header: Option<(HeaderName, HeaderValue)>,
    last: bool,
}

impl Problem {
    /// A problem with these words.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            field: None,
            header: None,
            last: false,
        }
    }

    /// 400.
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409.
    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 405 (RFC 9110, section 15.5.6).
    pub(super) fn method(allowed: &'static str) -> Problem {
        let detail = format!("this path takes {allowed}");
        let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        problem.header = Some((ALLOW, HeaderValue::from_static(allowed)));
        problem
    }

    /// 429 (RFC 6585, section 4). After a second there are calls again.
    pub(super) fn too_many() -> Problem {
        let detail = "more calls than this API takes: 100 a second, and 200 at once";
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        problem.header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        problem
    }

    /// 401 (RFC 6750, section 3).
    pub(super) fn token(detail: &str) -> Problem {
        let mut problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        problem.header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        problem
    }

    /// Names the field that is wrong.
    pub(super) fn at(self, field: &'static str) -> Problem {
        Problem {
            field: Some(field),
            ..self
        }
    }

    /// Ends the connection with the answer: what else is on its way is not read.
    pub(super) fn last(self) -> Problem {
        Problem { last: true, ..self }
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Body> {
        self.with(&[])
    }

    /// The answer, with what is wrong with a configuration.
    pub(super) fn with(self, findings: &[Finding]) -> Response<Body> {
        let mut details = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(field) = self.field {
            details["field"] = field.into();
        }
        if !findings.is_empty() {
            details["findings"] = findings.iter().map(finding).collect();
        }
        let mut response = Response::new(body::whole(Bytes::from(details.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        if self.last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.extend(self.header);
        response
    }
}

fn finding(finding: &Finding) -> serde_json::Value {
    let place = finding.place.as_ref();
    serde_json::json!({
        "severity": finding.severity.to_string(),
        "key": finding.key,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "what": finding.what,
        "help": finding.help,
    })
}
