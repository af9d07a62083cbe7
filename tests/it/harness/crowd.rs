//! WebSocket clients of every manner, which check that they lose nothing.

use std::net::SocketAddr;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agent::websocket::WebSocketAgent;
use super::client::websocket::{self, Record};
use super::manners::Sort;
use super::proxy::Builder;
use super::wire::End;
use super::{Proxy, within};

/// Clients of every manner, and the agent that they talk to.
pub struct Crowd {
    agent: WebSocketAgent,
    clients: JoinSet<Record>,
    sorts: Vec<(String, Sort)>,
    leave: CancellationToken,
    is_calm: bool,
}

impl Crowd {
    /// Nobody yet, before an agent.
    pub fn new() -> Crowd {
        Crowd {
            agent: WebSocketAgent::start(),
            clients: JoinSet::new(),
            sorts: Vec::new(),
            leave: CancellationToken::new(),
            is_calm: false,
        }
    }

    /// [`Crowd::new`], of clients that say so little that thousands are no load.
    pub fn calm() -> Crowd {
        Crowd {
            is_calm: true,
            ..Crowd::new()
        }
    }

    /// Where the agent is.
    pub fn agent(&self) -> SocketAddr {
        self.agent.agent.addr
    }

    /// A proxy before the agent.
    pub fn proxy(&self) -> Builder {
        Proxy::http(self.agent())
    }

    /// Adds so many clients, and waits until the proxy counts them all.
    pub async fn joins(&mut self, proxy: &Proxy, count: usize) {
        self.come_to(proxy.addr("web"), count).await;
        let total = self.sorts.len() as f64;
        proxy
            .metrics_until("the crowd", |scrape| scrape.open("websocket") == total)
            .await;
    }

    /// Adds so many clients of a listener.
    pub async fn come_to(&mut self, addr: SocketAddr, count: usize) {
        for n in self.sorts.len()..self.sorts.len() + count {
            let sort = [Sort::Asker, Sort::Pusher][n % 2];
            let name = format!("ws-{n}");
            let (path, style) = match self.is_calm {
                true => sort.calm_manners(&name),
                false => sort.manners(n, &name),
            };
            self.sorts.push((name.clone(), sort));
            let wire = within(20, "a WebSocket", websocket::open(addr, &path)).await;
            let wire = wire.unwrap();
            let leave = self.leave.clone();
            self.clients
                .spawn(async move { websocket::converse(wire, &name, style, leave).await });
        }
    }

    /// Waits until all have gone, and checks that everyone was asked politely and lost nothing.
    pub async fn left_well(&mut self) {
        self.have_gone(1012).await;
    }

    /// Has all go by themselves, and checks that nobody was asked, and that nothing was lost.
    pub async fn leaves_well(&mut self) {
        self.leave.cancel();
        self.have_gone(1000).await;
    }

    async fn have_gone(&mut self, code: u16) {
        let clients = std::mem::take(&mut self.clients).join_all();
        let records = within(120, "the crowd to have gone", clients).await;
        let names: Vec<_> = records.iter().map(|record| record.name.clone()).collect();
        let sides = within(20, "the agent's ends", self.agent.ledger.sides(&names)).await;
        let mut faults = Vec::new();
        for client in &records {
            let (name, agent) = (&client.name, &sides[&client.name]);
            for (who, side) in [("client", &client.side), ("agent", agent)] {
                if side.close.map(|close| close.code) != Some(code) {
                    faults.push(format!("{name}: the {who} saw the Close {:?}", side.close));
                }
                if side.end != Some(End::Fin) {
                    faults.push(format!("{name}: the {who} saw the end {:?}", side.end));
                }
                faults.extend(
                    side.faults
                        .iter()
                        .map(|fault| format!("{name}: {who}: {fault}")),
                );
            }
            if client.unanswered > 0 {
                faults.push(format!("{name}: {} without answer", client.unanswered));
            }
            for (from, to) in [(&client.side, agent), (agent, &client.side)] {
                match to.missing_from(from) {
                    Ok(0) => {}
                    missing => faults.push(format!("{name}: lost: {missing:?}")),
                }
            }
        }
        let said: u64 = records.iter().map(|client| client.side.sent).sum();
        let heard: usize = records
            .iter()
            .map(|client| client.side.received.len())
            .sum();
        println!("{} sessions: {said} said, {heard} heard", records.len());
        assert!(said > 0 && heard > 0, "nobody said anything");
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
