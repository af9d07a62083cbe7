//! Who may call: requests that name the address that is bound, and know the token if there is one.
//!
//! A web page can make a browser send requests to an address of its choice, and by DNS rebinding
//! even read the answers; but it cannot keep the page's own name out of `Host` and `Origin`.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Version};
use subtle::ConstantTimeEq as _;

use crate::config::{Bind, Token};

use super::problem::Problem;

/// What a port is that is not written.
const DEFAULT_PORT: u16 = 80;

/// Lets a request pass that came to `local`, of a socket that is bound to `bound`. No web page leads
/// to a unix socket: it is called `localhost`, and has no `Origin`.
///
/// # Errors
/// 400 without a `Host`, 421 for one that is not ours (RFC 9110, section 15.5.20), 403 for an
/// `Origin` that is not ours, 401 without the token.
pub(super) fn check(
    request: &Parts,
    bound: &Bind,
    local: Option<SocketAddr>,
    token: Option<&Token>,
) -> Result<(), Problem> {
    let tcp = match (bound, local) {
        (Bind::Tcp(bound), Some(local)) => Some((*bound, local)),
        _ => None,
    };
    let ours = |authority: &str| match tcp {
        Some((bound, local)) => is_ours(authority, bound, local),
        None => authority.eq_ignore_ascii_case("localhost"),
    };
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("there are two Host fields").last()),
        (None, _) if request.version >= Version::HTTP_11 => {
            return Err(Problem::bad_request("there is no Host field").last());
        }
        (Some(host), None) if !host.to_str().is_ok_and(ours) => return Err(misdirected(bound)),
        _ => {}
    }
    // A target in absolute form goes over the field (RFC 9112, section 3.2.2).
    if !request.uri.authority().is_none_or(|a| ours(a.as_str())) {
        return Err(misdirected(bound));
    }
    for origin in request.headers.get_all(ORIGIN) {
        let authority = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
        if tcp.is_none() || !authority.is_some_and(ours) {
            let detail = "requests from other web pages are not taken";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).last());
        }
    }
    match token {
        Some(token) => bearer(&request.headers, token),
        None => Ok(()),
    }
}

fn misdirected(bound: &Bind) -> Problem {
    let detail = match bound {
        Bind::Tcp(bound) => format!("the Host is not the address of this API, {bound}"),
        Bind::Unix(_) => "the Host of a unix socket is localhost".to_owned(),
    };
    Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).last()
}

/// Whether this names the address that is bound: by its number, or as `localhost`. Names are what
/// rebinding works with; a number cannot be made to mean another machine.
fn is_ours(authority: &str, bound: SocketAddr, local: SocketAddr) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let text = authority.host();
    let bare = text
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(text);
    let host = bare.parse::<IpAddr>().map(|ip| ip.to_canonical());
    let local_ip = local.ip().to_canonical();
    let right_host = match host {
        // Who is reached by way of a translated address is called by another number.
        Ok(_) if bound.ip().is_unspecified() => true,
        Ok(ip) => ip == local_ip,
        Err(_) => local_ip.is_loopback() && text.eq_ignore_ascii_case("localhost"),
    };
    // `port_u16` is also none for a port that is no number.
    let port = match authority.port() {
        None if authority.as_str().ends_with(':') => None,
        None => Some(DEFAULT_PORT),
        Some(port) => Some(port.as_u16()),
    };
    right_host && port == Some(bound.port())
}

/// Compares in a time that does not tell how much of the token was right.
fn bearer(headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(first), None) = (given.next(), given.next()) else {
        return Err(Problem::token("a bearer token is needed").last());
    };
    let (scheme, given) = match first.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, given)) => (scheme, given.trim()),
        None => ("", ""),
    };
    let right = scheme.eq_ignore_ascii_case("bearer")
        && bool::from(given.as_bytes().ct_eq(token.as_str().as_bytes()));
    if right {
        Ok(())
    } else {
        Err(Problem::token("the bearer token is not the one of admin.token_file").last())
    }
}

#[cfg(test)]
mod tests;
