//! That the cloud does what a real one does, before anything is judged by it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::balancing::{TargetGroup, arn};
use crate::cloud::fault::Fault;
use crate::cloud::scale_in::{ScaleIn, Tells};
use crate::cloud::scaling::Hook;
use crate::cloud::{Cloud, GROUP, HOOK, OTHER, OWN, REGION};
use crate::harness::wire::{Response, Wire, request};
use crate::harness::within;

const WHOLE: ScaleIn = ScaleIn {
    metadata: Tells::AtTheHook,
    deregisters: true,
};

async fn ask(
    cloud: &Cloud,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Option<Response> {
    let mut wire = Wire::connect(cloud.addr).await.unwrap();
    let asked = async {
        wire.send(request(method, path, fields, body.as_bytes()))
            .await
            .ok()?;
        wire.response(method).await.ok()
    };
    within(30, "an answer", asked).await
}

/// A call with the form of a signature.
async fn call(cloud: &Cloud, service: &str, extra: &[(&str, &str)], body: &str) -> Response {
    let (key, session) = cloud
        .world()
        .look(|world| (world.imds.key(), world.imds.session()));
    let signature = "0123456789abcdef".repeat(4);
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    let date = now.to_string().replace(['-', ':'], "");
    let day = &date[..8];
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{day}/{REGION}/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-security-token, Signature={signature}"
    );
    let mut fields = vec![
        ("authorization", authorization.as_str()),
        ("x-amz-date", date.as_str()),
        ("x-amz-security-token", session.as_str()),
    ];
    fields.extend(extra);
    ask(cloud, "POST", "/", &fields, body)
        .await
        .expect("an answer")
}

async fn scaling(cloud: &Cloud, action: &str, rest: &str) -> Response {
    let body = format!("Action={action}&Version=2011-01-01&{rest}");
    call(cloud, "autoscaling", &[], &body).await
}

async fn queue(cloud: &Cloud, action: &str, body: Value) -> Value {
    let target = format!("AmazonSQS.{action}");
    let extra = [
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    let answer = call(cloud, "sqs", &extra, &body.to_string()).await;
    serde_json::from_str(&answer.text()).unwrap()
}

fn hooked(heartbeat: u64) -> Cloud {
    let cloud = Cloud::start();
    let queue = cloud.queue("notices");
    assert!(queue.ends_with("/notices"));
    cloud.world().change(|world| {
        let targets = [(OWN, 8080), (OTHER, 8080)];
        let group = TargetGroup::of(1, &targets);
        world.target_groups.insert(arn("agents"), group);
        let mut hook = Hook::new(HOOK, Duration::from_secs(heartbeat));
        hook.queue = Some("notices".to_owned());
        world.hooks.push(hook);
    });
    cloud
}

#[tokio::test]
async fn a_scale_in_goes_by_the_balancer_first_and_waits_for_its_hook() {
    let cloud = hooked(30);
    let gone = cloud.scale_in(OWN, WHOLE);
    cloud.has_seen(1, &format!("{OWN} draining")).await;
    let health = format!(
        "Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn={}&Targets.member.1.Id={OWN}",
        arn("agents").replace(':', "%3A").replace('/', "%2F")
    );
    let said = call(&cloud, "elasticloadbalancing", &[], &health)
        .await
        .text();
    assert!(said.contains("<State>draining</State>"), "{said}");
    assert!(!said.contains(OTHER), "{said}");
    let here = format!("InstanceIds.member.1={OWN}");
    let said = scaling(&cloud, "DescribeAutoScalingInstances", &here)
        .await
        .text();
    assert!(
        said.contains("<LifecycleState>Terminating</LifecycleState>"),
        "{said}"
    );

    let receive = json!({"QueueUrl": "http://q/123456789012/notices", "WaitTimeSeconds": 20});
    let got = queue(&cloud, "ReceiveMessage", receive).await;
    let notice: Value = serde_json::from_str(got["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(notice["EC2InstanceId"], OWN);
    let state = cloud
        .world()
        .look(|world| world.instances[OWN].state.clone());
    assert_eq!(state, "Terminating:Wait");

    let token = notice["LifecycleActionToken"].as_str().unwrap();
    assert_eq!(token.len(), 36);
    let act = format!(
        "AutoScalingGroupName={GROUP}&LifecycleHookName={HOOK}&LifecycleActionToken={token}"
    );
    let beat = scaling(&cloud, "RecordLifecycleActionHeartbeat", &act).await;
    assert_eq!(beat.status, 200);
    let complete = format!("{act}&LifecycleActionResult=CONTINUE");
    let first = scaling(&cloud, "CompleteLifecycleAction", &complete).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = scaling(&cloud, "CompleteLifecycleAction", &complete).await;
    assert_eq!(again.status, 400);
    assert!(again.text().contains("<Code>ValidationError</Code>"));
    assert_eq!(within(10, "the end", gone).await.unwrap(), "CONTINUE");
    cloud.assert_order(&[
        &format!("{OWN} Terminating"),
        &format!("{OWN} draining"),
        &format!("{OWN} unused"),
        &format!("{OWN} Terminating:Wait"),
        "autoscaling.CompleteLifecycleAction",
        &format!("{OWN} is gone"),
    ]);
}

#[tokio::test]
async fn a_hook_that_nobody_answers_times_out_and_heartbeats_put_it_off() {
    let cloud = hooked(1);
    cloud
        .world()
        .change(|world| world.hooks[0].global = Duration::from_secs(3));
    let gone = cloud.scale_in(OWN, WHOLE);
    let wait = format!("{OWN} Terminating:Wait");
    let began = cloud.has_seen(1, &wait).await.at;
    let act = format!("AutoScalingGroupName={GROUP}&LifecycleHookName={HOOK}&InstanceId={OWN}");
    let mut beats = 0;
    while scaling(&cloud, "RecordLifecycleActionHeartbeat", &act)
        .await
        .status
        == 200
    {
        beats += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(beats > 3, "{beats}");
    assert_eq!(within(10, "the end", gone).await.unwrap(), "timeout");
    let lasted = cloud.when(&format!("{OWN} waited: timeout")) - began;
    assert!(lasted >= Duration::from_millis(2_900), "{lasted:?}");
}

#[tokio::test]
async fn a_message_that_is_given_back_comes_again_and_a_deleted_one_does_not() {
    let cloud = hooked(30);
    let url = "http://q/123456789012/notices";
    cloud.in_queue("notices", |queue| queue.send(&json!({"a": 1})));
    let receive = json!({"QueueUrl": url, "WaitTimeSeconds": 0});
    let got = queue(&cloud, "ReceiveMessage", receive.clone()).await;
    let receipt = got["Messages"][0]["ReceiptHandle"].clone();
    let hidden = queue(&cloud, "ReceiveMessage", receive.clone()).await;
    assert_eq!(hidden, json!({}));
    let back = json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 0});
    queue(&cloud, "ChangeMessageVisibility", back).await;
    let again = queue(&cloud, "ReceiveMessage", receive.clone()).await;
    let receipt = again["Messages"][0]["ReceiptHandle"].clone();
    let delete = json!({"QueueUrl": url, "ReceiptHandle": receipt});
    queue(&cloud, "DeleteMessage", delete).await;
    cloud.in_queue("notices", |queue| assert!(queue.messages.is_empty()));
}

#[tokio::test]
async fn metadata_wants_a_token_and_credentials_run_out() {
    let cloud = Cloud::start();
    let life = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
    let token = ask(&cloud, "PUT", "/latest/api/token", &life, "")
        .await
        .unwrap()
        .text();
    let held = [("x-aws-ec2-metadata-token", token.as_str())];
    let id = "/latest/meta-data/instance-id";
    assert_eq!(ask(&cloud, "GET", id, &held, "").await.unwrap().text(), OWN);
    let lifecycle = "/latest/meta-data/autoscaling/target-lifecycle-state";
    assert_eq!(
        ask(&cloud, "GET", lifecycle, &held, "")
            .await
            .unwrap()
            .status,
        404
    );
    cloud.world().change(|world| world.imds.forget_tokens());
    assert_eq!(ask(&cloud, "GET", id, &held, "").await.unwrap().status, 401);

    let (key, session) = cloud
        .world()
        .look(|world| (world.imds.key(), world.imds.session()));
    assert_eq!((key.len(), session.as_str()), (20, "session-0"));
    assert_eq!(
        scaling(&cloud, "DescribeAutoScalingInstances", "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn faults_come_as_often_as_told() {
    let cloud = Cloud::start();
    let action = "DescribeAutoScalingInstances";
    cloud.misbehave("autoscaling", Fault::Throttled, 1);
    let answer = scaling(&cloud, action, "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("<Code>Throttling</Code>"));
    assert_eq!(scaling(&cloud, action, "").await.status, 200);
    cloud.misbehave("imds", Fault::Down, 1);
    let life = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
    assert!(
        ask(&cloud, "PUT", "/latest/api/token", &life, "")
            .await
            .is_none()
    );
    assert!(
        ask(&cloud, "PUT", "/latest/api/token", &life, "")
            .await
            .is_some()
    );
    cloud.misbehave("autoscaling", Fault::Broken, 99);
    cloud.behave();
    assert_eq!(scaling(&cloud, action, "").await.status, 200);
}

#[tokio::test]
#[should_panic(expected = "a real cloud would refuse")]
async fn a_call_without_a_signature_fails_the_test() {
    let cloud = Cloud::start();
    let body = "Action=DescribeAutoScalingInstances&Version=2011-01-01";
    let refused = ask(&cloud, "POST", "/", &[], body).await.unwrap();
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn google_answers_when_something_has_changed() {
    let cloud = Cloud::start();
    let flavor = [("metadata-flavor", "Google")];
    let path = "/computeMetadata/v1/instance/preempted";
    let first = ask(&cloud, "GET", path, &flavor, "").await.unwrap();
    let tag = first.field("etag").unwrap().to_owned();
    let waiting = format!("{path}?wait_for_change=true&timeout_sec=60&last_etag={tag}");
    let asked = ask(&cloud, "GET", &waiting, &flavor, "");
    let changes = async {
        cloud.has_seen(2, "gcp.instance/preempted").await;
        cloud
            .world()
            .change(|world| world.gcp.preempted = "TRUE".to_owned());
    };
    let (answer, ()) = tokio::join!(asked, changes);
    assert_eq!(answer.unwrap().text(), "TRUE");
}
