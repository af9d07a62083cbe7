//! A proxy on the cloud, its agent, and a crowd of WebSockets.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::cloud::balancing::{TargetGroup, arn};
use crate::cloud::scaling::Hook;
use crate::cloud::{Cloud, GROUP, HOOK, OTHER, OWN};
pub use crate::harness::crowd::Crowd;
use crate::harness::log::Log;
use crate::harness::proxy::Builder;
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

/// What a scale-in came to.
pub async fn outcome(gone: JoinHandle<String>, limit: u64) -> String {
    within(limit, "the machine to be gone", gone).await.unwrap()
}
