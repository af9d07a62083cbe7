//! The drill with every session over TLS.

use std::time::Duration;

use super::crowd::ChatAgent;
use super::{Drill, ONE_WAY, drill};
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::stunnel;

/// Whose TLS it is.
#[derive(Clone, Copy)]
pub(super) enum Tls {
    Rustls,
    OpenSsl,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_over_tls_is_drained_without_anyone_noticing() {
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    let small = Drill {
        tls: Some(Tls::Rustls),
        ..Drill::SMALL
    };
    drill(agent, small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_over_tls_is_drained_in_half_a_minute() {
    over_tls(Tls::Rustls, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_over_tls_far_away_is_drained_in_half_a_minute() {
    over_tls(Tls::Rustls, ONE_WAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_over_openssl_is_drained_without_anyone_noticing() {
    if !stunnel::is_there_for("the drill over OpenSSL") {
        return;
    }
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    let small = Drill {
        tls: Some(Tls::OpenSsl),
        ..Drill::SMALL
    };
    drill(agent, small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_over_openssl_is_drained_in_half_a_minute() {
    if stunnel::is_there_for("the large drill over OpenSSL") {
        over_tls(Tls::OpenSsl, Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_over_openssl_far_away_is_drained_in_half_a_minute() {
    if stunnel::is_there_for("the large drill over OpenSSL") {
        over_tls(Tls::OpenSsl, ONE_WAY).await;
    }
}

async fn over_tls(tls: Tls, one_way: Duration) {
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    let lively = Drill {
        tls: Some(tls),
        ..Drill::lively(30, one_way)
    };
    drill(agent, lively).await;
}
