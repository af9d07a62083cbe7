//! A cloud that fails keeps nobody from being drained, and is told once what it has to be told.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::cloud::fault::Fault;
use crate::cloud::note::Note;
use crate::cloud::scale_in::{ScaleIn, Tells, notice};
use crate::cloud::{Cloud, OTHER, OWN};
use crate::harness::{Proxy, patience};
use crate::scene::{Crowd, QUEUE, assert_prompt, brisk, delivered, follow, on_aws, outcome};
use crate::scene::{with_hook, with_targets};

const COMPLETE: &str = "autoscaling.CompleteLifecycleAction";
const HEARTBEAT: &str = "autoscaling.RecordLifecycleActionHeartbeat";
const INSTANCES: &str = "autoscaling.DescribeAutoScalingInstances";
const HEALTH: &str = "elasticloadbalancing.DescribeTargetHealth";
const RECEIVE: &str = "sqs.ReceiveMessage";
const ALWAYS: usize = usize::MAX;

/// A proxy with a small crowd, a hook, and, if wanted, a balancer.
struct Scene {
    cloud: Cloud,
    crowd: Crowd,
    proxy: Proxy,
}

impl Scene {
    async fn begin(delay: Option<u64>, before: impl FnOnce(&Cloud)) -> Scene {
        let cloud = Cloud::start();
        if let Some(delay) = delay {
            with_targets(&cloud, delay);
        }
        with_hook(&cloud, 30);
        before(&cloud);
        let mut crowd = Crowd::new();
        let proxy = on_aws(&cloud, brisk(crowd.proxy(), "10s")).start().await;
        follow(&cloud, &proxy);
        crowd.joins(&proxy, 20).await;
        Scene {
            cloud,
            crowd,
            proxy,
        }
    }

    fn scale_in(&self, metadata: Tells, deregisters: bool) -> JoinHandle<String> {
        let how = ScaleIn {
            metadata,
            deregisters,
        };
        self.cloud.scale_in(OWN, how)
    }

    /// All have gone, and the group was told so once.
    async fn ends_with_one_completion(&mut self, gone: JoinHandle<String>) {
        self.crowd.left_well().await;
        self.is_completed_once(gone).await;
    }

    /// Nothing is open any more, and the group is told so once: also when the process ends.
    async fn is_completed_once(&self, gone: JoinHandle<String>) {
        self.cloud.empties(OWN);
        assert_eq!(outcome(gone, 60).await, "CONTINUE");
        self.proxy.phase("drained").await;
        self.proxy.terminate();
        assert_eq!(self.proxy.exit_within(60).await.code, Some(0));
        assert_eq!(self.cloud.good_calls(COMPLETE).len(), 1);
        let refused = |call: &Note| call.body.contains("ValidationError");
        let calls = self.cloud.calls(COMPLETE);
        assert!(!calls.iter().any(refused), "completed twice: {calls:#?}");
    }

    /// SIGTERM drains and ends the process within the window, whatever the cloud does.
    async fn sigterm_is_enough(mut self) {
        let told = self.proxy.terminate();
        self.crowd.left_well().await;
        let exit = self.proxy.exit_within(60).await;
        assert_eq!(exit.code, Some(0));
        let (took, sign) = (exit.at - told, told);
        println!("{took:.3?} from SIGTERM to the end");
        assert_prompt(&self.cloud, sign);
        assert!(took <= patience(Duration::from_secs(11)), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_refuse_from_the_start_delay_no_drain() {
    let scene = Scene::begin(None, |cloud| cloud.misbehave("imds", Fault::Down, ALWAYS)).await;
    scene.cloud.has_seen(1, "imds").await;
    scene.sigterm_is_enough().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_never_answer_delay_no_drain() {
    let scene = Scene::begin(None, |cloud| cloud.misbehave("imds", Fault::Silent, ALWAYS)).await;
    scene.cloud.has_seen(1, "imds").await;
    scene.sigterm_is_enough().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_that_only_fails_delays_no_drain() {
    let scene = Scene::begin(Some(60), |cloud| {
        for service in ["autoscaling", "elasticloadbalancing", "sqs"] {
            cloud.misbehave(service, Fault::Broken, ALWAYS);
        }
    })
    .await;
    scene.cloud.has_seen(1, INSTANCES).await;
    scene.sigterm_is_enough().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_fall_silent_later_leave_the_other_signs() {
    let mut scene = Scene::begin(Some(60), |_| {}).await;
    scene.cloud.has_seen(1, HEALTH).await;
    scene.cloud.misbehave("imds", Fault::Silent, ALWAYS);
    let gone = scene.scale_in(Tells::AtOnce, true);
    scene.ends_with_one_completion(gone).await;
    let sign = delivered(&scene.cloud, INSTANCES, ">Terminating<");
    assert_prompt(&scene.cloud, sign);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sign_is_enough_while_every_other_call_fails() {
    let mut scene = Scene::begin(Some(60), |_| {}).await;
    scene.cloud.has_seen(1, HEALTH).await;
    for calls in [INSTANCES, HEALTH, "sqs"] {
        scene.cloud.misbehave(calls, Fault::Broken, ALWAYS);
    }
    let gone = scene.scale_in(Tells::AtOnce, true);
    scene.crowd.left_well().await;
    let state = "imds.meta-data/autoscaling/target-lifecycle-state";
    assert_prompt(&scene.cloud, delivered(&scene.cloud, state, "Terminated"));
    // When they work again, the hook is found, and completed.
    scene.cloud.behave();
    scene.is_completed_once(gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_calls_are_repeated_until_they_are_heard() {
    let mut scene = Scene::begin(Some(60), |cloud| {
        cloud.misbehave(INSTANCES, Fault::Throttled, 1);
    })
    .await;
    scene.cloud.has_seen(1, HEALTH).await;
    scene.cloud.misbehave(COMPLETE, Fault::Throttled, 2);
    let gone = scene.scale_in(Tells::AtTheHook, true);
    scene.ends_with_one_completion(gone).await;
    assert_eq!(scene.cloud.calls(COMPLETE).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_run_out_are_fetched_anew() {
    let mut scene = Scene::begin(Some(60), |_| {}).await;
    scene.cloud.has_seen(1, HEALTH).await;
    scene.cloud.world().change(|world| {
        world.imds.expire_credentials();
        world.imds.forget_tokens();
    });
    let gone = scene.scale_in(Tells::Never, true);
    scene.ends_with_one_completion(gone).await;
    let expired = |note: &&Note| note.body.contains("ExpiredToken");
    let notes = scene.cloud.notes();
    assert!(
        notes.iter().any(|note| expired(&note)),
        "nothing has run out"
    );
    assert_prompt(
        &scene.cloud,
        delivered(&scene.cloud, INSTANCES, ">Terminating<"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_twice_drains_once_and_completes_once() {
    let mut scene = Scene::begin(None, |_| {}).await;
    scene.cloud.in_queue(QUEUE, |queue| {
        queue.send(&notice(OTHER, "00000000-0000-0000-0000-000000000001"));
        queue.send_text("{\"not\": json".to_owned());
        queue.send(&json!({
            "Service": "AWS Auto Scaling",
            "Time": "2026-01-01T00:00:00.000Z",
            "RequestId": "3cf5e9a1-0000-0000-0000-000000000001",
            "Event": "autoscaling:TEST_NOTIFICATION",
            "AccountId": "123456789012",
            "AutoScalingGroupName": "agents",
            "AutoScalingGroupARN": "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup",
        }));
    });
    scene.cloud.has_seen(1, "sqs.ChangeMessageVisibility").await;
    scene.cloud.has_seen(1, "sqs.DeleteMessage").await;
    assert!(!scene.proxy.has_been("lame_duck"), "of what is not its own");

    let gone = scene.scale_in(Tells::AtTheHook, false);
    // At least once, says the queue.
    scene
        .cloud
        .has_seen(1, &format!("{OWN} Terminating:Wait"))
        .await;
    let token = scene.cloud.world().look(|world| {
        let wait = world.instances[OWN].wait.as_ref();
        wait.map(|wait| wait.token.clone()).unwrap_or_default()
    });
    scene
        .cloud
        .in_queue(QUEUE, |queue| queue.send(&notice(OWN, &token)));
    scene.crowd.left_well().await;
    // The test message and both of its own are deleted; the other's waits for the other.
    scene.cloud.has_seen(3, "sqs.DeleteMessage").await;
    scene.is_completed_once(gone).await;
    assert_eq!(scene.cloud.calls(COMPLETE).len(), 1);
    let drains = |message: &str| {
        let events = scene.proxy.log.events();
        events
            .iter()
            .filter(|event| event.message == message)
            .count()
    };
    assert_eq!(drains("drain report"), 1);
    let others = scene.cloud.in_queue(QUEUE, |queue| {
        let bodies = queue.messages.iter().map(|message| message.body.clone());
        bodies.filter(|body| body.contains(OTHER)).count()
    });
    assert_eq!(others, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_cannot_be_read_are_asked_for_again() {
    let mut scene = Scene::begin(Some(60), |cloud| {
        for calls in [INSTANCES, HEALTH, RECEIVE] {
            cloud.misbehave(calls, Fault::Malformed, 2);
        }
    })
    .await;
    scene.cloud.has_seen(3, HEALTH).await;
    let gone = scene.scale_in(Tells::AtTheHook, true);
    scene.ends_with_one_completion(gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_somebody_else_has_completed_is_left_alone() {
    let mut scene = Scene::begin(None, |_| {}).await;
    let gone = scene.scale_in(Tells::AtTheHook, false);
    scene.cloud.has_seen(1, "proxy lame_duck").await;
    scene.cloud.world().change(|world| {
        if let Some(wait) = &mut world.instances.get_mut(OWN).expect("it waits").wait {
            wait.result = Some("CONTINUE".to_owned());
        }
    });
    assert_eq!(outcome(gone, 30).await, "CONTINUE");
    scene.crowd.left_well().await;
    scene.proxy.phase("drained").await;
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_within(30).await.code, Some(0));
    // One of them has found out that nobody waits, and the rest was not tried.
    assert!(scene.cloud.good_calls(COMPLETE).is_empty());
    let late = |call: &str| {
        let calls = scene.cloud.calls(call);
        calls.iter().filter(|call| call.status != Some(200)).count()
    };
    let tries = late(COMPLETE) + late(HEARTBEAT);
    assert!(tries <= 1, "{tries} tries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_make_no_drain_late() {
    let slow = Fault::Slow(Duration::from_secs(3));
    let mut scene = Scene::begin(Some(60), |_| {}).await;
    scene.cloud.has_seen(1, HEALTH).await;
    scene.cloud.misbehave("autoscaling", slow, ALWAYS);
    let gone = scene.scale_in(Tells::AtOnce, true);
    scene.ends_with_one_completion(gone).await;
    let state = "imds.meta-data/autoscaling/target-lifecycle-state";
    assert_prompt(&scene.cloud, delivered(&scene.cloud, state, "Terminated"));
}
