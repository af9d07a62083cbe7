//! A proxy on the cloud, its agent, and a crowd of WebSockets.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cloud::balancing::{TargetGroup, arn};
use crate::cloud::scaling::Hook;
use crate::cloud::{Cloud, GROUP, HOOK, OTHER, OWN};
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::websocket::{self, Record};
use crate::harness::log::Log;
use crate::harness::manners::Sort;
use crate::harness::proxy::Builder;
use crate::harness::wire::End;
use crate::harness::{Proxy, patience, within};

/// The name of the target group.
pub const TARGETS: &str = "chat";
/// The name of the hook's queue.
pub const QUEUE: &str = "notices";

/// A target group of both machines, with this delay in seconds.
pub fn with_targets(cloud: &Cloud, delay: u64) {
    cloud.world().change(|world| {
        let group = TargetGroup::of(delay, &[(OWN, 8080), (OTHER, 8080)]);
        world.target_groups.insert(arn(TARGETS), group);
    });
}

/// A hook with this heartbeat timeout in seconds; gives the URL of the queue that it tells.
pub fn with_hook(cloud: &Cloud, heartbeat: u64) -> String {
    cloud.world().change(|world| {
        let mut hook = Hook::new(HOOK, Duration::from_secs(heartbeat));
        hook.queue = Some(QUEUE.to_owned());
        world.hooks.push(hook);
    });
    cloud.queue(QUEUE)
}

/// The proxy before a chat agent, on the cloud's machine, with all that the cloud has.
pub fn on_aws(cloud: &Cloud, proxy: Builder) -> Builder {
    let quoted = |text: &str| format!("\"{text}\"");
    let (groups, queues): (Vec<_>, Vec<_>) = cloud.world().look(|world| {
        let groups = world.target_groups.keys().map(|arn| quoted(arn));
        (groups.collect(), world.queues.keys().cloned().collect())
    });
    let mut proxy = cloud
        .machine(proxy)
        .set("platform.aws", "poll", "\"1s\"")
        .set("platform.aws", "describe_poll", "\"1s\"")
        .set("platform.aws", "group", &quoted(GROUP));
    if !groups.is_empty() {
        let groups = format!("[{}]", groups.join(", "));
        proxy = proxy.set("platform.aws", "target_groups", &groups).set(
            "platform.aws",
            "target_port",
            "8080",
        );
    }
    for path in queues {
        let url = quoted(&format!("http://{}{path}", cloud.addr));
        proxy = proxy.set("platform.aws", "queue_url", &url);
    }
    proxy
}

/// A drain in this window, with a lame duck that is brief, but not so brief that there is none.
pub fn brisk(proxy: Builder, window: &str) -> Builder {
    within_window(proxy, window, "500ms")
}

/// A drain in this window that waits a little longer for those who still come.
pub fn patient(proxy: Builder, window: &str) -> Builder {
    within_window(proxy, window, "2s")
}

fn within_window(proxy: Builder, window: &str, quiet: &str) -> Builder {
    proxy
        .window(window)
        .drain("lame_duck_min", "\"500ms\"")
        .drain("lame_duck_quiet", &format!("\"{quiet}\""))
}

/// Notes in the cloud's book when the proxy comes into each phase, as `proxy PHASE`.
pub fn follow(cloud: &Cloud, proxy: &Proxy) {
    let (world, log) = (cloud.world().clone(), proxy.log.clone());
    tokio::spawn(async move {
        // One after the other, so that they stand in the book in the order of the log.
        for number in 0.. {
            let phase = |log: &Log| {
                let events = log.events().into_iter();
                let mut phases = events.filter(|event| event.message == "phase");
                phases.nth(number)?.text("phase")
            };
            match log.find(phase).await {
                Some(phase) => world.happened(format!("proxy {phase}")),
                None => return,
            }
        }
    });
}

/// When something with this in its answer, or asked with it, was first delivered to the proxy.
pub fn delivered(cloud: &Cloud, call: &str, sign: &str) -> Instant {
    let calls = cloud.good_calls(call);
    let first = calls.iter().find(|call| call.body.contains(sign));
    let first = first.unwrap_or_else(|| panic!("{sign} was never delivered by {call}"));
    first.answered.expect("a good call is answered")
}

/// How much a second may be longer on a machine that does much else.
const ALLOWANCE: Duration = Duration::from_secs(2);

/// Checks that the drain began within a second of `sign`.
pub fn assert_prompt(cloud: &Cloud, sign: Instant) {
    let late = cloud
        .when("proxy lame_duck")
        .saturating_duration_since(sign);
    println!("the drain began {late:.3?} after its sign");
    let most = patience(Duration::from_secs(1) + ALLOWANCE);
    assert!(late <= most, "{late:?} after its sign");
}

/// Clients of every manner, and the agent that they talk to.
pub struct Crowd {
    agent: WebSocketAgent,
    clients: JoinSet<Record>,
    sorts: Vec<(String, Sort)>,
}

impl Crowd {
    /// Nobody yet, before an agent.
    pub fn new() -> Crowd {
        Crowd {
            agent: WebSocketAgent::start(),
            clients: JoinSet::new(),
            sorts: Vec::new(),
        }
    }

    /// A proxy before the agent.
    pub fn proxy(&self) -> Builder {
        Proxy::http(self.agent.agent.addr)
    }

    /// Adds so many clients, and waits until the proxy counts them all.
    pub async fn joins(&mut self, proxy: &Proxy, count: usize) {
        let addr = proxy.addr("web");
        for n in self.sorts.len()..self.sorts.len() + count {
            let sort = [Sort::Asker, Sort::Pusher][n % 2];
            let name = format!("ws-{n}");
            let (path, style) = sort.manners(n, &name);
            self.sorts.push((name.clone(), sort));
            let wire = within(20, "a WebSocket", websocket::open(addr, &path)).await;
            let wire = wire.unwrap();
            self.clients.spawn(async move {
                websocket::converse(wire, &name, style, CancellationToken::new()).await
            });
        }
        let total = self.sorts.len() as f64;
        proxy
            .metrics_until("the crowd", |scrape| scrape.open("websocket") == total)
            .await;
    }

    /// Waits until all have gone, and checks that everyone was asked politely and lost nothing.
    pub async fn left_well(&mut self) {
        let clients = std::mem::take(&mut self.clients).join_all();
        let records = within(120, "the crowd to have gone", clients).await;
        let names: Vec<_> = records.iter().map(|record| record.name.clone()).collect();
        let sides = within(20, "the agent's ends", self.agent.ledger.sides(&names)).await;
        let mut faults = Vec::new();
        for client in &records {
            let (name, agent) = (&client.name, &sides[&client.name]);
            for (who, side) in [("client", &client.side), ("agent", agent)] {
                if side.close.map(|close| close.code) != Some(1012) {
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

/// What a scale-in came to.
pub async fn outcome(gone: JoinHandle<String>, limit: u64) -> String {
    within(limit, "the machine to be gone", gone).await.unwrap()
}
