//! How the pod is set, for who compares it with a configuration.

use serde_json::Value;

use crate::config::platform::Kubernetes;
use crate::lifecycle::settings::{Access, Pod};

use super::api::{Api, Wrong};

/// Asks the API server. The Deployment is looked at where that is allowed.
///
/// # Errors
/// What kept the pod from being read.
pub(in crate::lifecycle) async fn ask(settings: &Kubernetes) -> Result<Pod, String> {
    let api = Api::find(settings, |name| std::env::var(name).ok())?;
    let document = api.read(&api.pod_path()).await;
    let document = document.map_err(|Wrong { story, .. }| format!("pod {}: {story}", api.pod))?;
    let mut pod = Pod::of(&document).ok_or("what came is no pod")?;
    pod.min_ready = deployment(&api, &document)
        .await
        .map(|deployment| Pod::min_ready_of(&deployment));
    pod.access = Access {
        patch_pods: api.may("patch", "pods").await.ok(),
        create_events: api.may("create", "events").await.ok(),
    };
    Ok(pod)
}

/// The Deployment that a pod belongs to, by way of its ReplicaSet.
async fn deployment(api: &Api, pod: &Value) -> Option<Value> {
    let path = |kind: &str, name: &str| {
        let namespace = &api.namespace;
        format!("/apis/apps/v1/namespaces/{namespace}/{kind}/{name}")
    };
    let replicas = path("replicasets", owner(pod, "ReplicaSet")?);
    let replicas = api.read(&replicas).await.ok()?;
    let deployment = path("deployments", owner(&replicas, "Deployment")?);
    api.read(&deployment).await.ok()
}

/// The name of an object's owner of this kind.
fn owner<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let found = owners.iter().find(|owner| owner["kind"] == kind)?;
    found["name"].as_str()
}
