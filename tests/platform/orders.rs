//! What ends first, where it is not what one would think: each platform's own order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::cloud::balancing::{TargetGroup, arn};
use crate::cloud::scale_in::{ScaleIn, Tells, deregister};
use crate::cloud::{Cloud, OWN, ecs};
use crate::harness::balancer::Balancer;
use crate::harness::proxy::binary;
use crate::harness::{Proxy, within};
use crate::scene::{
    Crowd, TARGETS, brisk, follow, on_aws, outcome, patient, with_hook, with_targets,
};

/// Looks at the readiness until the drain is over: whether it was ever missing, and how often it was
/// asked.
async fn readiness(proxy: &Proxy) -> (usize, usize) {
    let (mut asked, mut missing) = (0, 0);
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    loop {
        pace.tick().await;
        let answer = within(20, "readiness", proxy.ask_health("/readyz"))
            .await
            .unwrap();
        let said: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        if said["phase"] == "drained" {
            return (asked, missing);
        }
        asked += 1;
        missing += usize::from(answer.status != 200);
    }
}

/// An NLB resets the flows of a target that turns unhealthy, and sends new ones long after it was
/// deregistered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nlb_a_deregistered_target_stays_ready_and_serves_whoever_still_comes() {
    let cloud = Cloud::start();
    with_targets(&cloud, 300);
    let mut crowd = Crowd::new();
    let proxy = on_aws(&cloud, patient(crowd.proxy(), "14s"));
    let proxy = proxy.start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 40).await;
    cloud
        .has_seen(1, "elasticloadbalancing.DescribeTargetHealth")
        .await;

    let world = cloud.world().clone();
    let deregistered = tokio::spawn(async move { deregister(&world, OWN).await });
    proxy.phase("lame_duck").await;
    let arrive = async {
        let mut pace = tokio::time::interval(Duration::from_millis(700));
        for _ in 0..4 {
            pace.tick().await;
            crowd.joins(&proxy, 3).await;
        }
        cloud.world().happened("the last one came");
        crowd.left_well().await;
    };
    let (_, (asked, missing)) = tokio::join!(arrive, readiness(&proxy));

    println!("asked {asked} times whether it is ready");
    cloud.has_seen(1, "proxy drained").await;
    assert_eq!(missing, 0, "not ready {missing} times of {asked}");
    cloud.assert_order(&[
        &format!("{OWN} draining"),
        "proxy lame_duck",
        "the last one came",
        "proxy draining",
        "proxy drained",
    ]);
    // It outlived neither the delay nor itself.
    assert!(!deregistered.is_finished());
    deregistered.abort();
    proxy.terminate();
    assert_eq!(proxy.exit_within(20).await.code, Some(0));
}

/// The same with a group, whose word comes together with the balancer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nlb_a_scale_in_never_makes_the_target_unhealthy() {
    let cloud = Cloud::start();
    with_targets(&cloud, 300);
    let mut crowd = Crowd::new();
    let proxy = on_aws(&cloud, brisk(crowd.proxy(), "10s")).start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 20).await;
    cloud
        .has_seen(1, "elasticloadbalancing.DescribeTargetHealth")
        .await;

    let balancer = Balancer::watch(proxy.health());
    let gone = cloud.scale_in(
        OWN,
        ScaleIn {
            metadata: Tells::AtOnce,
            deregisters: true,
        },
    );
    crowd.left_well().await;
    assert!(!balancer.view().looks_away(), "unhealthy while it drained");
    cloud.empties(OWN);
    outcome(gone, 30).await;
}

/// An ECS service deregisters the task and waits out the delay before SIGTERM comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ecs_a_service_deactivates_first_and_its_sigterm_finds_nobody() {
    let cloud = Cloud::start();
    cloud.world().change(|world| {
        let group = TargetGroup::of(60, &[(ecs::ADDRESS, 8080)]);
        world.target_groups.insert(arn(TARGETS), group);
    });
    let mut crowd = Crowd::new();
    let proxy = cloud.task(brisk(crowd.proxy(), "10s").set("platform.ecs", "poll", "\"1s\""));
    let proxy = proxy.start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 40).await;
    cloud.has_seen(1, "ecs.GET metadata/task").await;

    cloud.world().change(|world| {
        world.ecs.desired = "STOPPED".to_owned();
        world.ecs.known = "DEACTIVATING".to_owned();
    });
    let world = cloud.world().clone();
    let waited = tokio::spawn(async move { deregister(&world, ecs::ADDRESS).await });
    crowd.left_well().await;
    cloud.empties(ecs::ADDRESS);
    within(20, "the end of the delay", waited).await.unwrap();
    cloud.has_seen(1, "proxy drained").await;
    cloud.world().happened("SIGTERM");
    let told = proxy.terminate();
    let exit = proxy.exit_within(20).await;
    assert_eq!(exit.code, Some(0));
    println!("it left {:.3?} after SIGTERM", exit.at - told);
    cloud.assert_order(&[
        &format!("{} draining", ecs::ADDRESS),
        "proxy lame_duck",
        "proxy drained",
        "SIGTERM",
    ]);
}

/// `StopTask` sends SIGTERM while the target is healthy, so that new sessions come until the balancer
/// has noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ecs_a_stopped_task_serves_until_the_balancer_has_noticed() {
    let cloud = Cloud::start();
    let mut crowd = Crowd::new();
    let proxy = patient(crowd.proxy(), "12s");
    let proxy = cloud.task(proxy.set("platform.ecs", "poll", "\"1s\""));
    let proxy = proxy.start().await;
    follow(&cloud, &proxy);
    let balancer = Balancer::watch(proxy.health());
    crowd.joins(&proxy, 40).await;

    cloud.world().change(|world| {
        world.ecs.desired = "STOPPED".to_owned();
        world.ecs.known = "STOPPING".to_owned();
    });
    cloud.world().happened("SIGTERM");
    proxy.terminate();
    proxy.phase("lame_duck").await;
    while !balancer.view().looks_away() {
        crowd.joins(&proxy, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cloud.world().happened("the balancer looks away");
    crowd.left_well().await;
    assert_eq!(proxy.exit_within(30).await.code, Some(0));
    cloud.has_seen(1, "proxy drained").await;
    cloud.assert_order(&[
        "SIGTERM",
        "proxy lame_duck",
        "the balancer looks away",
        "proxy draining",
        "proxy drained",
    ]);
}

/// A native sidecar gets SIGTERM when the agent is dead. So its own preStop begins the drain, and the
/// agent's preStop waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubernetes_a_sidecars_agent_lives_until_the_drain_is_over() {
    let cloud = Cloud::start();
    let mut crowd = Crowd::new();
    let proxy = brisk(crowd.proxy(), "10s").start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 40).await;

    // Both containers' preStop run at once when the deletion begins.
    let admin = proxy.event("admin listening").await.text("addr").unwrap();
    let own = Command::new(binary())
        .args(["drain", "--wait", "--reason", "preStop"])
        .env("LAMEDUCK_ADMIN", format!("http://{admin}"))
        .kill_on_drop(true)
        .output();
    let agent_is_held = Arc::new(AtomicBool::new(true));
    let (held, world) = (agent_is_held.clone(), cloud.world().clone());
    let health = proxy.health();
    let agents = async move {
        let mut wire = crate::harness::wire::Wire::connect(health).await.unwrap();
        let answer = wire
            .request("GET", "/drained", &[("connection", "close")], b"")
            .await;
        held.store(false, Ordering::SeqCst);
        world.happened("the agent is let go");
        answer.unwrap().status
    };
    let sessions = async {
        crowd.left_well().await;
        cloud.world().happened("the last session has gone");
    };
    let all = async { tokio::join!(own, agents, sessions) };
    let (own, agents, ()) = Box::pin(within(60, "the drain", all)).await;
    assert_eq!(agents, 200);
    let own = own.unwrap();
    assert_eq!(own.status.code(), Some(0), "{own:?}");
    assert!(!agent_is_held.load(Ordering::SeqCst));

    // The agent's container ends, and only then the sidecar hears of it.
    drop(crowd);
    cloud.world().happened("SIGTERM");
    let told: Instant = proxy.terminate();
    let exit = proxy.exit_within(20).await;
    assert_eq!(exit.code, Some(0));
    println!("it left {:.3?} after SIGTERM", exit.at - told);
    // The client hears of the end a moment before the proxy counts it, so these two may be as close.
    cloud.assert_order(&[
        "proxy lame_duck",
        "proxy closing",
        "the agent is let go",
        "SIGTERM",
    ]);
    cloud.assert_order(&["proxy closing", "the last session has gone", "SIGTERM"]);
}

/// EC2 Auto Scaling with the notice of its hook alone: no balancer, no describe calls allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asg_without_a_balancer_the_hook_begins_the_drain() {
    let cloud = Cloud::start();
    with_hook(&cloud, 30);
    let mut crowd = Crowd::new();
    let proxy = on_aws(&cloud, brisk(crowd.proxy(), "10s")).start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 20).await;

    let gone = cloud.scale_in(
        OWN,
        ScaleIn {
            metadata: Tells::AtTheHook,
            deregisters: false,
        },
    );
    crowd.left_well().await;
    assert_eq!(outcome(gone, 60).await, "CONTINUE");
    cloud.assert_order(&[
        &format!("{OWN} Terminating:Wait"),
        "proxy lame_duck",
        "proxy closing",
        "autoscaling.CompleteLifecycleAction",
        &format!("{OWN} is gone"),
    ]);
}
