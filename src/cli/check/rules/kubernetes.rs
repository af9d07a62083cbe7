//! Pods.

use std::time::Duration;

use super::{cut, risky, secs, shorter_than_the_window};
use crate::config::{Config, Finding};
use crate::lifecycle::settings::{Answered, Pod, PodContainer, PreStop};

/// The agent and the sidecar end within the grace period too, one after the other.
const ENDS: Duration = Duration::from_secs(5);

pub(in crate::cli::check) fn findings(pod: &Pod, config: &Config) -> Vec<Finding> {
    let mut found = grace(pod, config);
    if config.health.bind.ip().is_loopback() {
        let what = "the kubelet asks the pod's address, where nobody answers: no probe and no preStop succeeds";
        found.push(cut("health.bind", what, "write \"0.0.0.0:9180\""));
    }
    match pod.containers.iter().find(|container| is_proxy(container)) {
        Some(proxy) => {
            found.extend(of_proxy(proxy, config));
            let agents = pod
                .containers
                .iter()
                .filter(|other| other.name != proxy.name);
            // Another sidecar ends after the agent anyway.
            let agents = agents.filter(|other| !other.is_sidecar);
            found.extend(agents.filter_map(|agent| of_agent(agent, config)));
        }
        None => {
            let what = "no container's name or image is lameduck";
            found.push(risky(
                format!("pod {}", pod.name),
                what,
                "its hooks and probes could not be compared",
            ));
        }
    }
    if pod.min_ready == Some(Duration::ZERO) {
        let what = "a rollout takes the next pod at once: who has just come back is moved again";
        found.push(risky("minReadySeconds", what, "make it 10 or so"));
    }
    found.extend(access(pod, config));
    found
}

fn is_proxy(container: &PodContainer) -> bool {
    let image = container.image.rsplit('/').next().unwrap_or_default();
    container.name.contains("lameduck") || image.contains("lameduck")
}

fn grace(pod: &Pod, config: &Config) -> Vec<Finding> {
    let key = "terminationGracePeriodSeconds";
    if let Some(found) = shorter_than_the_window(key, pod.grace, config) {
        return vec![found];
    }
    let (window, margin) = (config.drain.window, config.drain.margin);
    let tight = if window.auto {
        (margin < ENDS).then(|| {
            let what = format!(
                "with \"auto\" the drain may take the whole grace period, and {} are for the agent's own end",
                secs(margin)
            );
            risky("drain.margin", what, "make it as long as the agent takes to end, such as 10s")
        })
    } else {
        (pod.grace < window.length + ENDS).then(|| {
            let (grace, length) = (secs(pod.grace), secs(window.length));
            let what = format!(
                "{grace} leaves nothing after drain.window ({length}) for the agent's own end"
            );
            risky(
                key,
                what,
                format!("make it {} or more", secs(window.length + ENDS)),
            )
        })
    };
    tight.into_iter().collect()
}

fn of_proxy(proxy: &PodContainer, config: &Config) -> Vec<Finding> {
    let name = &proxy.name;
    let key = |what: &str| format!("container {name}: {what}");
    let mut found = Vec::new();
    let help = "write exec: {command: [/lameduck, drain, --wait]}";
    match &proxy.pre_stop {
        None => {
            let what = if proxy.is_sidecar {
                "without one it hears of the end when the agent is gone"
            } else {
                "without one it drains from its SIGTERM only, and nobody waits for it"
            };
            found.push(cut(key("preStop"), what, help));
        }
        Some(PreStop::Exec(command)) => {
            let has = |wanted: &str| {
                command
                    .iter()
                    .any(|word| word.split(' ').any(|word| word == wanted))
            };
            if !has("drain") {
                found.push(cut(key("preStop"), "it starts no drain", help));
            } else if !has("--wait") {
                let what = "it does not wait: SIGTERM comes at once";
                found.push(risky(key("preStop"), what, help));
            }
        }
        Some(_) => found.push(cut(key("preStop"), "it starts no drain", help)),
    }
    let port = config.health.bind.port();
    let is = |asked: &Answered, path: &str| asked.port == Some(port) && asked.path == path;
    let ready = format!("ask for /readyz on port {port}");
    match &proxy.readiness {
        None => {
            let what = "without one it gets clients before its agent is there";
            found.push(risky(key("readinessProbe"), what, ready));
        }
        Some(asked) if is(asked, "/readyz") => {}
        Some(asked) if is(asked, "/livez") => {
            let what = "/livez answers 200 while the agent is away and during a drain";
            found.push(risky(key("readinessProbe"), what, ready));
        }
        Some(asked) => {
            let what = format!("`{}` is not where readiness is answered", asked.path);
            found.push(cut(key("readinessProbe"), what, ready));
        }
    }
    if let Some(asked) = proxy.liveness.as_ref().filter(|asked| !is(asked, "/livez")) {
        let what = if asked.path == "/readyz" {
            "/readyz fails during a drain: the container is killed in the middle of one".to_owned()
        } else {
            format!(
                "`{}` is not where life is told: the container is killed",
                asked.path
            )
        };
        found.push(cut(
            key("livenessProbe"),
            what,
            format!("ask for /livez on port {port}"),
        ));
    }
    found
}

/// An agent that is not held back dies when the drain begins.
fn of_agent(agent: &PodContainer, config: &Config) -> Option<Finding> {
    let key = format!("container {}: preStop", agent.name);
    let port = config.health.bind.port();
    let help = format!("write httpGet: {{path: /drained, port: {port}}}");
    match &agent.pre_stop {
        None => {
            let what =
                "without one it gets its SIGTERM when the drain begins, and not when it is over";
            Some(cut(key, what, help))
        }
        Some(PreStop::Get(asked))
            if asked.path.split('?').next() != Some("/drained") || asked.port != Some(port) =>
        {
            let what = format!("`{}` does not wait for the drain", asked.path);
            Some(cut(key, what, help))
        }
        Some(PreStop::Sleep(pause)) if *pause < config.drain.window.length => {
            let what = format!(
                "it sleeps for {}, and not until the drain is over",
                secs(*pause)
            );
            Some(cut(key, what, help))
        }
        // What a command does, nobody can tell.
        Some(_) => None,
    }
}

fn access(pod: &Pod, config: &Config) -> Vec<Finding> {
    let Some(settings) = &config.platforms.kubernetes else {
        return Vec::new();
    };
    let cost = settings.pod_deletion_cost;
    let denied = [
        (
            "patch pods",
            pod.access.patch_pods,
            cost,
            "the pod's deletion cost cannot be set",
        ),
        (
            "create events",
            pod.access.create_events,
            settings.events,
            "drains leave no events",
        ),
    ];
    let wanted = denied
        .into_iter()
        .filter(|(_, may, wanted, _)| *wanted && *may == Some(false));
    wanted
        .map(|(verb, _, _, what)| {
            let help = format!("give its service account a Role that may {verb}");
            risky(format!("service account: {verb}"), what, help)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::check::rules::tests::{example, keys};
    use crate::lifecycle::settings::Access;

    /// As in `config/examples/kubernetes/deployment.yaml`.
    fn shipped() -> Value {
        let ports = json!([{"name": "chat", "containerPort": 8080}, {"name": "health", "containerPort": 9180}]);
        let command = json!(["/lameduck", "drain", "--wait", "--reason", "preStop"]);
        json!({"metadata": {"name": "agent-1"}, "spec": {
            "terminationGracePeriodSeconds": 150,
            "initContainers": [{
                "name": "lameduck", "image": "registry.example.org/lameduck:0.1.0", "restartPolicy": "Always",
                "ports": ports,
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}},
                "livenessProbe": {"httpGet": {"path": "/livez", "port": "health"}},
                "lifecycle": {"preStop": {"exec": {"command": command}}},
            }],
            "containers": [{
                "name": "agent", "image": "your-agent",
                "lifecycle": {"preStop": {"httpGet": {"path": "/drained", "port": 9180}}},
            }],
        }})
    }

    fn found(pod: &Value, change: impl FnOnce(&mut Pod, &mut Config)) -> Vec<String> {
        let mut pod = Pod::of(pod).expect("a pod");
        pod.min_ready = Some(Duration::from_secs(10));
        let all = Some(true);
        pod.access = Access {
            patch_pods: all,
            create_events: all,
        };
        let mut config = example("kubernetes");
        change(&mut pod, &mut config);
        keys(&findings(&pod, &config))
    }

    /// What is found when one thing is changed in what is shipped: a value, or nothing in its place.
    fn with(at: &str, value: Value) -> Vec<String> {
        let mut pod = shipped();
        let (parent, key) = at.rsplit_once('/').expect("a pointer");
        let spec = pod
            .pointer_mut(&format!("/spec{parent}"))
            .and_then(Value::as_object_mut);
        let spec = spec.expect("an object");
        if value.is_null() {
            spec.remove(key);
        } else {
            spec.insert(key.into(), value);
        }
        found(&pod, |_, _| ())
    }

    #[test]
    fn nothing_is_found_in_what_is_shipped() {
        assert_eq!(found(&shipped(), |_, _| ()), [""; 0]);
        let auto = |margin: u64| {
            found(&shipped(), |_, config| {
                config.drain.window.auto = true;
                config.drain.margin = Duration::from_secs(margin);
            })
        };
        assert_eq!(auto(10), [""; 0]);
        assert_eq!(auto(2), ["W drain.margin"]);
    }

    #[test]
    fn a_grace_period_that_is_too_short_is_found() {
        let key = "terminationGracePeriodSeconds";
        let grace = |seconds: Value| with(&format!("/{key}"), seconds);
        assert_eq!(grace(json!(100)), [format!("E {key}")]);
        assert_eq!(grace(Value::Null), [format!("E {key}")]);
        assert_eq!(grace(json!(122)), [format!("W {key}")]);
    }

    #[test]
    fn each_mistake_in_the_sidecar_is_found() {
        let hook = ["E container lameduck: preStop"];
        assert_eq!(with("/initContainers/0/lifecycle", Value::Null), hook);
        let exec = |command: &[&str]| {
            let hook = json!({"preStop": {"exec": {"command": command}}});
            with("/initContainers/0/lifecycle", hook)
        };
        assert_eq!(exec(&["sleep", "10"]), hook);
        assert_eq!(
            exec(&["/lameduck", "drain"]),
            ["W container lameduck: preStop"]
        );
        assert_eq!(exec(&["sh", "-c", "exec /lameduck drain --wait"]), [""; 0]);
        let get = |path: &str, port: Value| json!({"httpGet": {"path": path, "port": port}});
        let ready = |probe: Value| with("/initContainers/0/readinessProbe", probe);
        let (warned, refused) = (
            ["W container lameduck: readinessProbe"],
            ["E container lameduck: readinessProbe"],
        );
        assert_eq!(ready(Value::Null), warned);
        assert_eq!(ready(get("/livez", json!(9180))), warned);
        assert_eq!(ready(get("/ready", json!(9180))), refused);
        assert_eq!(ready(get("/readyz", json!("chat"))), refused);
        let live = |path: &str| with("/initContainers/0/livenessProbe", get(path, json!(9180)));
        assert_eq!(live("/readyz"), ["E container lameduck: livenessProbe"]);
        assert_eq!(live("/health"), ["E container lameduck: livenessProbe"]);
    }

    #[test]
    fn an_agent_that_is_not_held_back_is_found() {
        let agent = ["E container agent: preStop"];
        let hook = |hook: Value| with("/containers/0/lifecycle", json!({"preStop": hook}));
        assert_eq!(with("/containers/0/lifecycle", Value::Null), agent);
        assert_eq!(
            hook(json!({"httpGet": {"path": "/drain", "port": 9180}})),
            agent
        );
        assert_eq!(
            hook(json!({"httpGet": {"path": "/drained", "port": 9000}})),
            agent
        );
        assert_eq!(hook(json!({"sleep": {"seconds": 5}})), agent);
        assert_eq!(hook(json!({"exec": {"command": ["wait-for-it"]}})), [""; 0]);
        assert_eq!(
            hook(json!({"httpGet": {"path": "/drained?timeout=100s", "port": 9180}})),
            [""; 0]
        );
    }

    #[test]
    fn each_right_that_is_missing_is_found() {
        let denied = Access {
            patch_pods: Some(false),
            create_events: Some(false),
        };
        let told = |cost: bool, events: bool| {
            found(&shipped(), |pod, config| {
                pod.access = denied;
                let settings = config.platforms.kubernetes.as_mut().expect("it is on");
                (settings.pod_deletion_cost, settings.events) = (cost, events);
            })
        };
        let account = "W service account: ";
        let (patch, create) = ("patch pods", "create events");
        assert_eq!(
            told(true, true),
            [patch, create].map(|verb| format!("{account}{verb}"))
        );
        assert_eq!(told(false, false), [""; 0]);
    }

    #[test]
    fn other_mistakes_are_found() {
        let rollout = found(&shipped(), |pod, _| pod.min_ready = Some(Duration::ZERO));
        assert_eq!(rollout, ["W minReadySeconds"]);
        let bind = found(&shipped(), |_, config| {
            config.health.bind = ([127, 0, 0, 1], 9180).into();
        });
        assert_eq!(bind, ["E health.bind"]);
        let nameless = found(&shipped(), |pod, _| {
            let proxy = &mut pod.containers[0];
            (proxy.name, proxy.image) = ("proxy".into(), "registry.example.org/proxy".into());
        });
        assert_eq!(nameless, ["W pod agent-1"]);
    }
}
