//! A pod, as the API server shows it.

use std::time::Duration;

use serde_json::Value;

use super::{list, seconds, text, texts};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
    /// Its containers, native sidecars among them, other init containers not.
    pub containers: Vec<PodContainer>,
    /// `minReadySeconds` of the Deployment that it belongs to, where that may be read.
    pub min_ready: Option<Duration>,
    /// What its service account may do.
    pub access: Access,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Whether it is an init container that goes on: started before the others, ended after them.
    pub is_sidecar: bool,
    /// What runs when the pod is deleted.
    pub pre_stop: Option<PreStop>,
    /// What its readiness probe asks for, if it asks over HTTP.
    pub readiness: Option<Answered>,
    /// Likewise, its liveness probe.
    pub liveness: Option<Answered>,
}

/// What runs in or for a container before it gets its SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreStop {
    /// A command.
    Exec(Vec<String>),
    /// A question over HTTP.
    Get(Answered),
    /// A pause.
    Sleep(Duration),
    /// Something else.
    Other,
}

/// What is asked for over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The path.
    pub path: String,
    /// The port; none if it has a name that means nothing.
    pub port: Option<u16>,
}

/// What a service account may do in the pod's namespace; none where nobody could be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Annotate pods.
    pub patch_pods: Option<bool>,
    /// Write events.
    pub create_events: Option<bool>,
}

impl Pod {
    /// Out of a Pod object. Without a Deployment and without what may be done.
    pub fn of(pod: &Value) -> Option<Pod> {
        let named = ports(pod);
        let of = |container| PodContainer::of(container, &named);
        let sidecars = list(pod, "/spec/initContainers")
            .filter(|container| text(container, "/restartPolicy").as_deref() == Some("Always"));
        let containers = list(pod, "/spec/containers");
        Some(Pod {
            name: text(pod, "/metadata/name")?,
            // The API server fills it in; this is what it would say.
            grace: seconds(pod, "/spec/terminationGracePeriodSeconds")
                .unwrap_or(Duration::from_secs(30)),
            containers: sidecars.chain(containers).filter_map(of).collect(),
            min_ready: None,
            access: Access::default(),
        })
    }
}

impl Pod {
    /// `minReadySeconds` of a Deployment.
    pub fn min_ready_of(deployment: &Value) -> Duration {
        // The default is zero, and is not shown.
        seconds(deployment, "/spec/minReadySeconds").unwrap_or_default()
    }
}

impl PodContainer {
    fn of(container: &Value, named: &[(String, String, u16)]) -> Option<PodContainer> {
        let name = text(container, "/name")?;
        let asked = |at: &str| Answered::of(container.pointer(at)?, &name, named);
        let pre_stop = container
            .pointer("/lifecycle/preStop")
            .map(|hook| match hook {
                hook if hook.get("exec").is_some() => PreStop::Exec(texts(hook, "/exec/command")),
                hook if hook.get("sleep").is_some() => {
                    PreStop::Sleep(seconds(hook, "/sleep/seconds").unwrap_or_default())
                }
                hook => hook
                    .get("httpGet")
                    .and_then(|get| Answered::of(get, &name, named))
                    .map_or(PreStop::Other, PreStop::Get),
            });
        Some(PodContainer {
            image: text(container, "/image").unwrap_or_default(),
            is_sidecar: text(container, "/restartPolicy").as_deref() == Some("Always"),
            pre_stop,
            readiness: asked("/readinessProbe/httpGet"),
            liveness: asked("/livenessProbe/httpGet"),
            name,
        })
    }
}

impl Answered {
    fn of(get: &Value, container: &str, named: &[(String, String, u16)]) -> Option<Answered> {
        let port = match get.get("port")? {
            Value::String(name) => {
                let mut ports = named.iter();
                let found = ports.find(|(owner, port, _)| owner == container && port == name);
                found.map(|(.., number)| *number)
            }
            number => number.as_u64().and_then(|port| port.try_into().ok()),
        };
        let path = text(get, "/path").unwrap_or_else(|| "/".to_owned());
        Some(Answered { path, port })
    }
}

/// The ports that have names: container, name, number.
fn ports(pod: &Value) -> Vec<(String, String, u16)> {
    let all = list(pod, "/spec/initContainers").chain(list(pod, "/spec/containers"));
    let of = |container: &Value| {
        let owner = text(container, "/name").unwrap_or_default();
        let named = |port: &Value| {
            let number = port.pointer("/containerPort")?.as_u64()?;
            Some((owner.clone(), text(port, "/name")?, number.try_into().ok()?))
        };
        list(container, "/ports")
            .filter_map(named)
            .collect::<Vec<_>>()
    };
    all.flat_map(of).collect()
}
