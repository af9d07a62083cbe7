//! EC2 Auto Scaling: the machine is deregistered first, and the hook speaks when all is over.

use std::time::Duration;

use crate::cloud::scale_in::{ScaleIn, Tells};
use crate::cloud::{Cloud, HOOK, OTHER, OWN};
use crate::harness::{Proxy, within};
use crate::scene::{Crowd, assert_prompt, brisk, delivered, follow, on_aws, outcome};
use crate::scene::{with_hook, with_targets};

const COMPLETE: &str = "autoscaling.CompleteLifecycleAction";
const HEARTBEAT: &str = "autoscaling.RecordLifecycleActionHeartbeat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_are_gone_before_the_hook_speaks_and_it_is_answered_at_once() {
    let cloud = Cloud::start();
    // The balancer waits for 60 s, or until nothing is open.
    with_targets(&cloud, 60);
    with_hook(&cloud, 30);
    let mut crowd = Crowd::new();
    let proxy = on_aws(&cloud, brisk(crowd.proxy(), "10s")).start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 200).await;
    // The proxy has found out whose it is before anything happens.
    cloud
        .has_seen(1, "elasticloadbalancing.DescribeTargetHealth")
        .await;

    let gone = cloud.scale_in(
        OWN,
        ScaleIn {
            metadata: Tells::AtTheHook,
            deregisters: true,
        },
    );
    crowd.left_well().await;
    cloud.world().happened("the last session has gone");
    cloud.empties(OWN);
    assert_eq!(outcome(gone, 60).await, "CONTINUE");

    let state = |state: &str| format!("{OWN} {state}");
    cloud.assert_order(&[
        &state("Terminating"),
        &state("draining"),
        "proxy lame_duck",
        "proxy draining",
        "proxy closing",
        "the last session has gone",
        &state("unused"),
        &state("Terminating:Wait"),
        COMPLETE,
        &state("waited: CONTINUE"),
        &state("is gone"),
    ]);
    let complete = &cloud.calls(COMPLETE)[0].fields;
    assert_eq!(complete["LifecycleHookName"], HOOK);
    assert_eq!(complete["LifecycleActionResult"], "CONTINUE");
    let terminating = ">Terminating<";
    let sign = delivered(
        &cloud,
        "autoscaling.DescribeAutoScalingInstances",
        terminating,
    );
    assert_prompt(&cloud, sign);
    cloud.has_seen(1, "sqs.DeleteMessage").await;
    leaves_at_once(&proxy).await;
    assert_eq!(proxy.report()["cut"], 0);
    // Nor was it said again on the way out.
    assert_eq!(cloud.calls(COMPLETE).len(), 1);
}

/// A drained proxy is still there until a signal comes, and then leaves.
async fn leaves_at_once(proxy: &Proxy) {
    proxy.phase("drained").await;
    proxy.terminate();
    assert_eq!(proxy.exit_within(20).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_a_hook_waiting_that_is_shorter_than_the_drain() {
    outlasts_the_hook(6, 18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 90 s: the times of a real hook"]
async fn heartbeats_keep_a_hook_of_half_a_minute_waiting_for_a_minute_and_a_half() {
    outlasts_the_hook(30, 90).await;
}

/// A group without a balancer: its hook speaks at once, and is what the drain begins with.
async fn outlasts_the_hook(heartbeat: u64, drain: u64) {
    let cloud = Cloud::start();
    with_hook(&cloud, heartbeat);
    let mut crowd = Crowd::new();
    let proxy = brisk(crowd.proxy(), &format!("{}s", drain + 4));
    // Nobody goes by himself, and nobody is asked to for the most of it.
    let proxy = proxy.drain("finish", &format!("\"{}s\"", drain - 2));
    let proxy = on_aws(&cloud, proxy).start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 20).await;
    cloud
        .has_seen(1, "autoscaling.DescribeLifecycleHooks")
        .await;

    let gone = cloud.scale_in(
        OWN,
        ScaleIn {
            metadata: Tells::Never,
            deregisters: false,
        },
    );
    crowd.left_well().await;
    assert_eq!(outcome(gone, 60).await, "CONTINUE");

    let waiting = format!("{OWN} Terminating:Wait");
    cloud.assert_order(&[&waiting, "proxy lame_duck", "proxy closing", COMPLETE]);
    // Both follow the notice at once; the phase is seen by way of the log, and may be seen second.
    cloud.assert_order(&[&waiting, HEARTBEAT, "proxy closing", COMPLETE]);
    let (beats, complete) = (cloud.calls(HEARTBEAT), cloud.calls(COMPLETE));
    assert_eq!(complete.len(), 1);
    let moments: Vec<_> = std::iter::once(cloud.when(&waiting))
        .chain(beats.iter().map(|beat| beat.at))
        .chain([complete[0].at])
        .collect();
    let gaps: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!(
        "between the hook's notice, {} heartbeats and the end: {gaps:.1?}",
        beats.len()
    );
    let timeout = Duration::from_secs(heartbeat);
    assert!(gaps.iter().all(|gap| *gap < timeout), "{gaps:?}");
    // At half the timeout: one at the first notice, then one in each half. More would be throttled.
    let halves = (moments[moments.len() - 1] - moments[0]).as_secs_f64() / (heartbeat as f64 / 2.0);
    let most = halves.ceil() as usize + 1;
    assert!(
        (4..=most).contains(&beats.len()),
        "{} of {most}",
        beats.len()
    );
    assert!(
        beats.iter().all(|beat| beat.status == Some(200)),
        "{beats:?}"
    );
    leaves_at_once(&proxy).await;
    assert_eq!(
        cloud.calls(HEARTBEAT).len(),
        beats.len(),
        "a beat after the end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_another_machine_is_nobodys_business_here() {
    let cloud = Cloud::start();
    with_targets(&cloud, 1);
    with_hook(&cloud, 30);
    let crowd = Crowd::new();
    let proxy = on_aws(&cloud, brisk(crowd.proxy(), "10s")).start().await;
    cloud
        .has_seen(1, "elasticloadbalancing.DescribeTargetHealth")
        .await;

    let _gone = cloud.scale_in(
        OTHER,
        ScaleIn {
            metadata: Tells::AtOnce,
            deregisters: true,
        },
    );
    // The message comes here, and is given back for the one that it is for.
    let back = cloud.has_seen(1, "sqs.ChangeMessageVisibility").await;
    assert_eq!(back.fields["VisibilityTimeout"], "0");
    within(20, "another look at the group", async {
        let looks = cloud
            .calls("autoscaling.DescribeAutoScalingInstances")
            .len();
        cloud
            .has_seen(looks + 2, "autoscaling.DescribeAutoScalingInstances")
            .await
    })
    .await;
    assert!(!proxy.has_been("lame_duck"));
    assert!(cloud.calls("sqs.DeleteMessage").is_empty());
    assert!(cloud.calls(COMPLETE).is_empty() && cloud.calls(HEARTBEAT).is_empty());
    cloud.in_queue(crate::scene::QUEUE, |queue| {
        assert_eq!(queue.messages.len(), 1);
    });
}
