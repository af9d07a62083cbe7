//! Tasks of ECS.

use serde_json::{Value, json};

use super::server::{Answers, server};
use super::{credentials, root};

/// A file of the example.
fn shipped(name: &str) -> Value {
    let path = root().join("config/examples/ecs").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("text")).expect("JSON")
}

/// ECS, with a task of this definition, and the target group that README.md describes.
fn cloud(definition: &Value) -> Answers {
    let attribute = |key: &str, value: &str| {
        let inner = format!("<member><Key>{key}</Key><Value>{value}</Value></member>");
        Value::from(format!("<A><R><Attributes>{inner}</Attributes></R></A>"))
    };
    let target = "<A><R><TargetGroups><member><Protocol>HTTP</Protocol><Port>8080</Port>\
                  <HealthCheckProtocol>HTTP</HealthCheckProtocol><HealthCheckPort>9180</HealthCheckPort>\
                  <HealthCheckPath>/readyz</HealthCheckPath>\
                  <HealthCheckIntervalSeconds>5</HealthCheckIntervalSeconds>\
                  <UnhealthyThresholdCount>2</UnhealthyThresholdCount>\
                  <LoadBalancerArns><member>arn:aws:e:l/app/front/1</member></LoadBalancerArns>\
                  </member></TargetGroups></R></A>";
    let task =
        json!({"Cluster": "agents", "Family": "agent", "Revision": "7", "ServiceName": "agent"});
    Answers::from([
        ("/v4/1".to_owned(), json!({"Name": "lameduck"})),
        ("/v4/1/task".to_owned(), task),
        // Only the revision that this is, and only this service.
        (
            "DescribeTaskDefinition \"agent:7\"".to_owned(),
            json!({"taskDefinition": definition}),
        ),
        (
            "DescribeServices \"agents\"".to_owned(),
            json!({"services": [shipped("service.json")]}),
        ),
        ("DescribeTargetGroups".to_owned(), target.into()),
        (
            "DescribeTargetGroupAttributes".to_owned(),
            attribute("deregistration_delay.timeout_seconds", "120"),
        ),
        (
            "DescribeLoadBalancerAttributes".to_owned(),
            attribute("idle_timeout.timeout_seconds", "60"),
        ),
    ])
}

fn checked(definition: &Value) -> (Option<i32>, String, String) {
    let url = server(cloud(definition));
    let metadata = format!("{url}/v4/1");
    let mut variables = credentials(&url).to_vec();
    variables.push(("ECS_CONTAINER_METADATA_URI_V4", &metadata));
    super::checked("ecs", "ecs", "", &variables)
}

#[test]
fn nothing_is_found_in_the_task_that_is_shipped() {
    let (code, out, err) = checked(&shipped("task-definition.json"));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out, "FILE: good (1 listener, 1 upstream, 0 warnings)\n");
}

#[test]
fn a_task_that_stops_in_the_wrong_order_is_refused() {
    let mut definition = shipped("task-definition.json");
    let containers = &mut definition["containerDefinitions"];
    containers[1]["stopTimeout"] = json!(30);
    containers[1]["dependsOn"] = json!([]);
    containers[0]["dependsOn"] = json!([{"containerName": "lameduck", "condition": "HEALTHY"}]);
    let (code, out, err) = checked(&definition);
    let refused = "FILE: refused (2 errors, 0 warnings)\n";
    assert_eq!((code, out.as_str()), (Some(2), refused), "{err}");
    for said in [
        "error: container lameduck: stopTimeout: 30s is shorter than drain.window (110s)",
        "; Fargate waits 120s at most\n",
        "error: container agent: dependsOn: it depends on lameduck",
    ] {
        assert!(err.contains(said), "no {said} in {err}");
    }
}

#[test]
fn what_is_no_task_is_no_verdict() {
    let (code, out, err) = super::checked("ecs", "ecs", "", &credentials("http://127.0.0.1:9"));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("this is no task"), "{err}");
}
