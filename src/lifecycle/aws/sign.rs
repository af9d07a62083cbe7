//! Signatures (SigV4).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as signed};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;

use super::environment::Service;
use super::fault::Fault;

/// Signs a request as it is; nothing in it may change afterwards.
///
/// # Errors
/// [`Fault::Unsound`] if there is something in it that cannot be signed.
pub(super) fn sign(
    request: &mut Request<Bytes>,
    credentials: &Credentials,
    service: Service,
    region: &str,
    now: SystemTime,
) -> Result<(), Fault> {
    let unsound = |error: &dyn std::fmt::Display| Fault::Unsound(error.to_string());
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service.name())
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsound(&error))?;
    let uri = request.uri().to_string();
    let headers = request.headers().iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let body = SignableBody::Bytes(request.body());
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, body)
        .map_err(|error| unsound(&error))?;
    let (instructions, _) = signed(signable, &params.into())
        .map_err(|error| unsound(&error))?
        .into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}
