//! Groups and balancers of EC2.

use serde_json::{Value, json};

use super::server::{Answers, server};
use super::{credentials, documents};

/// An answer of the Query protocol.
fn xml(inner: &str) -> Value {
    format!("<Answer xmlns=\"x\"><Result>{inner}</Result></Answer>").into()
}

/// Elements by their names; lists have members.
fn element(name: &str, value: &Value) -> String {
    let inner = match value {
        Value::Array(items) => items.iter().map(|item| element("member", item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| element(name, value))
            .collect(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("<{name}>{inner}</{name}>")
}

fn arn(name: &str) -> String {
    format!(
        "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/{name}/0123456789abcdef"
    )
}

/// The cloud after the stack was made: what is described, as the template says it.
fn cloud(stack: &Value) -> Answers {
    let of = |name: &str| stack["Resources"][name]["Properties"].clone();
    let mut answers = Answers::new();
    let mut put = |key: String, list: &str, value: Value| {
        answers.insert(key, xml(&element(list, &value)));
    };
    let mut group = of("Agents");
    group["TargetGroupARNs"] = json!([arn("chat"), arn("ingest")]);
    let hooks = group["LifecycleHookSpecificationList"].take();
    put(
        "DescribeAutoScalingGroups".into(),
        "AutoScalingGroups",
        json!([group]),
    );
    put("DescribeLifecycleHooks".into(), "LifecycleHooks", hooks);
    for (name, resource, balancer, kind) in [
        ("chat", "ChatTargets", "Alb", "app"),
        ("ingest", "IngestTargets", "Nlb", "net"),
    ] {
        let mut target = of(resource);
        let front = format!("arn:aws:elasticloadbalancing:e:1:loadbalancer/{kind}/{balancer}/1");
        target["LoadBalancerArns"] = json!([front]);
        // What a template may leave out, the API says.
        if target["HealthCheckProtocol"].is_null() {
            target["HealthCheckProtocol"] = target["Protocol"].clone();
        }
        let attributes = target["TargetGroupAttributes"].take();
        put(
            format!("DescribeTargetGroups {name}"),
            "TargetGroups",
            json!([target]),
        );
        put(
            format!("DescribeTargetGroupAttributes {name}"),
            "Attributes",
            attributes,
        );
    }
    let alb = of("Alb")["LoadBalancerAttributes"].clone();
    put("DescribeLoadBalancerAttributes".into(), "Attributes", alb);
    let actions = json!([{"TargetGroupArn": arn("ingest")}]);
    let listener = json!([{"ListenerArn": "arn:l", "DefaultActions": actions}]);
    put("DescribeListeners".into(), "Listeners", listener);
    let nlb = of("NlbListener")["ListenerAttributes"].clone();
    put("DescribeListenerAttributes".into(), "Attributes", nlb);
    answers
}

/// The template of the example, with its parameter.
fn stack() -> Option<Value> {
    let mut stack = documents("aws/stack.yaml")?[0].take();
    let window = stack["Parameters"]["Window"]["Default"].to_string();
    let resources = stack["Resources"].as_object_mut().expect("resources");
    for resource in resources.values_mut() {
        let attributes = &mut resource["Properties"]["TargetGroupAttributes"];
        for attribute in attributes.as_array_mut().into_iter().flatten() {
            if attribute["Value"] == "Window" {
                attribute["Value"] = window.clone().into();
            }
        }
    }
    Some(stack)
}

fn checked(answers: Answers) -> (Option<i32>, String, String) {
    super::checked("aws", "aws", "", &credentials(&server(answers)))
}

#[test]
fn nothing_is_found_in_the_stack_that_is_shipped() {
    let Some(stack) = stack() else { return };
    let (code, out, err) = checked(cloud(&stack));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out, "FILE: good (2 listeners, 2 upstreams, 0 warnings)\n");
}

#[test]
fn mistakes_in_the_cloud_are_said_and_refused() {
    let Some(stack) = stack() else { return };
    let mut answers = cloud(&stack);
    let attributes = json!([
        {"Key": "deregistration_delay.timeout_seconds", "Value": "60"},
        {"Key": "slow_start.duration_seconds", "Value": "30"},
    ]);
    let mut put = |key: &str, list: &str, value: Value| {
        answers.insert(key.into(), xml(&element(list, &value)));
    };
    put(
        "DescribeTargetGroupAttributes chat",
        "Attributes",
        attributes,
    );
    put(
        "DescribeTargetGroupAttributes ingest",
        "Attributes",
        json!([]),
    );
    put("DescribeLifecycleHooks", "LifecycleHooks", json!([]));
    let idle = json!([{"Key": "idle_timeout.timeout_seconds", "Value": "120"}]);
    put("DescribeLoadBalancerAttributes", "Attributes", idle);
    let idle = json!([{"Key": "tcp.idle_timeout.seconds", "Value": "60"}]);
    put("DescribeListenerAttributes", "Attributes", idle);
    let (code, out, err) = checked(answers);
    let refused = "FILE: refused (1 error, 5 warnings)\n";
    assert_eq!((code, out.as_str()), (Some(2), refused), "{err}");
    for said in [
        "error: target group chat: deregistration_delay.timeout_seconds: 60s is shorter than drain.window (300s)",
        "warning: target group chat: slow_start.duration_seconds: ",
        "warning: target group ingest: target_health_state.unhealthy.connection_termination.enabled: ",
        "warning: group agents-agents: no terminate hook",
        "warning: ALB Alb: idle_timeout.timeout_seconds: 120s is not below http.idle_timeout (75s)",
        "warning: NLB Nlb: tcp.idle_timeout.seconds: ",
    ] {
        assert!(err.contains(said), "no {said} in {err}");
    }
}

#[test]
fn a_cloud_that_refuses_is_no_verdict() {
    let (code, out, err) = checked(Answers::new());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.starts_with("error: aws cannot be asked how it is set: "),
        "{err}"
    );
}
