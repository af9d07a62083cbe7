//! Pods.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::documents;
use super::server::{Answers, server};

/// `check --platform k8s`, with the API server at `url`.
fn checked(url: &str) -> (Option<i32>, String, String) {
    let pod = [("POD_NAME", "agent-1"), ("POD_NAMESPACE", "chat")];
    super::checked("k8s", "kubernetes", &format!("api_url = \"{url}\""), &pod)
}

/// A cluster with this pod, of this Deployment.
fn cluster(spec: &Value, deployment: &Value) -> Answers {
    let owner = |kind: &str, name: &str| json!([{"kind": kind, "name": name}]);
    let pod = json!({
        "metadata": {"name": "agent-1", "ownerReferences": owner("ReplicaSet", "agent-7d9c")},
        "spec": spec,
    });
    let replicas = json!({"metadata": {"ownerReferences": owner("Deployment", "agent")}});
    let apps = "/apis/apps/v1/namespaces/chat";
    Answers::from([
        ("/api/v1/namespaces/chat/pods/agent-1".to_owned(), pod),
        (format!("{apps}/replicasets/agent-7d9c"), replicas),
        (format!("{apps}/deployments/agent"), deployment.clone()),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            json!({"status": {"allowed": true}}),
        ),
    ])
}

#[test]
fn nothing_is_found_in_the_manifests_that_are_shipped() {
    let Some(documents) = documents("kubernetes/deployment.yaml") else {
        return;
    };
    let deployment = &documents[0];
    let url = server(cluster(&deployment["spec"]["template"]["spec"], deployment));
    let (code, out, err) = checked(&url);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out, "FILE: good (1 listener, 1 upstream, 0 warnings)\n");
}

#[test]
fn what_would_be_cut_short_is_said_and_refused() {
    let container = |name: &str| json!({"name": name, "image": name});
    let mut answers = cluster(
        &json!({"containers": [container("lameduck"), container("agent")]}),
        &json!({"spec": {}}),
    );
    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    answers.insert(review.into(), json!({"status": {"allowed": false}}));
    let (code, out, err) = checked(&server(answers));
    assert_eq!(
        (code, out.as_str()),
        (Some(2), "FILE: refused (3 errors, 4 warnings)\n"),
        "{err}"
    );
    for said in [
        "error: terminationGracePeriodSeconds: 30s is shorter than drain.window (120s): what is open \
         then is cut\n    help: make it 120s or more, or drain.window 30s or less\n",
        "error: container lameduck: preStop: without one it drains from its SIGTERM only",
        "error: container agent: preStop: without one it gets its SIGTERM when the drain begins",
        "warning: container lameduck: readinessProbe: ",
        "warning: minReadySeconds: ",
        "warning: service account: patch pods: ",
        "warning: service account: create events: ",
    ] {
        assert!(err.contains(said), "no {said} in {err}");
    }
}

#[test]
fn a_platform_that_does_not_answer_is_no_verdict() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let (code, out, err) = checked(&url);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.starts_with("error: kubernetes cannot be asked how it is set: "),
        "{err}"
    );
    assert!(err.contains("cannot connect"), "{err}");

    // No such pod.
    let (code, _, err) = checked(&server(Answers::new()));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("pod agent-1: the answer was 404"), "{err}");
}
