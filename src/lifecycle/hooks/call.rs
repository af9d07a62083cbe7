//! One call of the agent: a POST of JSON that wants a success.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};

use crate::config::HookUrl;
use crate::lifecycle::call;

/// Why a call brought no success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    NoAnswer(#[from] call::Failed),
    #[error("it answered {0}")]
    Status(StatusCode),
}

/// Sends JSON to a hook, and gives the body of an answer that is a success.
///
/// # Errors
/// Whatever kept one from coming within `limit`.
pub(super) async fn post(url: &HookUrl, body: Bytes, limit: Duration) -> Result<Bytes, Failed> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| call::Failed::Broken(error.into()))?;
    let response = call::send(request, None, limit).await?;
    let (status, body) = (response.status(), response.into_body());
    if status.is_success() {
        Ok(body)
    } else {
        Err(Failed::Status(status))
    }
}
