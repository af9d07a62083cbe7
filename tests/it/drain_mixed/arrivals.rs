//! Those who come while the drain has begun and the balancer has not noticed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::fronts::Fronts;
use crate::harness::balancer::View;
use crate::harness::client::{http, tcp, websocket};
use crate::harness::wire::End;
use crate::harness::within;

/// How the arrivals fared.
#[derive(Default)]
pub(crate) struct Arrivals {
    pub(crate) served: usize,
    /// One for each that was not served.
    pub(crate) faults: Vec<String>,
}

/// New sessions, steadily, for as long as the balancer sends them here. Each must be served.
pub(crate) async fn arrive(fronts: Fronts, balancer: View) -> Arrivals {
    let Fronts { chat, web, raw } = fronts;
    let mut sessions = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for n in 0.. {
        tokio::select! {
            _ = pace.tick() => {}
            () = balancer.looked_away() => break,
        }
        sessions.spawn(async move {
            match (n % 3, raw) {
                (1, _) => brief_websocket(chat, n).await,
                (2, Some(raw)) => brief_tcp(raw, n).await,
                _ => http::fetch(web, "/arrival").await,
            }
        });
    }
    let ends = within(20, "the arrivals to be served", sessions.join_all()).await;
    let (served, faults): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    let faults = faults
        .into_iter()
        .filter_map(Result::err)
        .map(|f| format!("arrival: {f}"));
    Arrivals {
        served: served.len(),
        faults: faults.collect(),
    }
}

async fn brief_websocket(addr: SocketAddr, n: usize) -> Result<(), String> {
    use crate::harness::frames::{Frame, TEXT};
    use crate::harness::ledger::message;
    let mut wire = websocket::open(addr, &format!("/echo/arrival-{n}")).await?;
    let question = Frame::new(TEXT, message(0));
    let failed = |what| format!("websocket {n}: {what}");
    wire.send(question.masked())
        .await
        .map_err(|_| failed("no send"))?;
    let answer = Frame::read(&mut wire)
        .await
        .ok_or_else(|| failed("no answer"))?;
    if answer.payload != question.payload {
        return Err(failed(&format!("instead of an answer: {answer:?}")));
    }
    wire.send(Frame::close(1000).masked())
        .await
        .map_err(|_| failed("no Close sent"))?;
    let close = Frame::read(&mut wire)
        .await
        .ok_or_else(|| failed("no Close"))?;
    match close.close_code() {
        Some(1000) => Ok(()),
        _ => Err(failed(&format!("another Close: {close:?}"))),
    }
}

async fn brief_tcp(addr: SocketAddr, n: usize) -> Result<(), String> {
    use crate::harness::ledger::message;
    let mut wire = tcp::open(addr, &format!("/echo/arrival-tcp-{n}")).await?;
    let question = message(0) + "\n";
    let failed = |what: &str| format!("tcp {n}: {what}");
    wire.send(&question).await.map_err(|_| failed("no send"))?;
    match wire.until(b"\n").await {
        Some(answer) if answer == question.as_bytes() => {}
        other => return Err(failed(&format!("instead of an answer: {other:?}"))),
    }
    wire.finish().await;
    match wire.rest().await {
        (rest, End::Fin) if rest.is_empty() => Ok(()),
        other => Err(failed(&format!("at the end: {other:?}"))),
    }
}
