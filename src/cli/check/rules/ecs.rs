//! Tasks of ECS.

use std::time::Duration;

use super::{cut, finding, risky, shorter_than_the_window, targets};
use crate::config::{Config, Finding, ProtectWhen, Severity};
use crate::lifecycle::settings::{Container, TargetGroup, Task};

/// `stopTimeout` where it is not said.
const DEFAULT_STOP: Duration = Duration::from_secs(30);

/// `own` is the name of the proxy's container.
pub(in crate::cli::check) fn findings(
    task: &Task,
    own: &str,
    targets: &[TargetGroup],
    config: &Config,
) -> Vec<Finding> {
    let mut found = targets::all(targets, config);
    let mut containers = task.containers.iter();
    let Some(proxy) = containers.find(|container| container.name == own) else {
        let what = format!("it has no container `{own}`");
        found.push(risky(
            format!("task {}", task.family),
            what,
            "nothing could be compared",
        ));
        return found;
    };
    found.extend(stop_timeout(proxy, task, config));
    found.extend(order(proxy, task));
    if !task.has_role && protects(config) {
        let what = "without a task role the task cannot be protected, and a scale-in takes it with its sessions";
        let help = "give a role with ecs:GetTaskProtection and ecs:UpdateTaskProtection";
        found.push(risky("taskRoleArn", what, help));
    }
    if proxy
        .health_command
        .iter()
        .any(|word| word.contains("/readyz"))
    {
        let what = "/readyz fails during a drain: the task is killed in the middle of one";
        let help = "ask for /livez, as `lameduck healthcheck` does";
        found.push(cut(format!("container {own}: healthCheck"), what, help));
    }
    found
}

fn protects(config: &Config) -> bool {
    let settings = config.platforms.ecs.as_ref();
    settings.is_some_and(|settings| settings.protect_when != ProtectWhen::Off)
}

fn stop_timeout(proxy: &Container, task: &Task, config: &Config) -> Option<Finding> {
    let waits = proxy.stop_timeout.unwrap_or(DEFAULT_STOP);
    let key = format!("container {}: stopTimeout", proxy.name);
    let mut found = shorter_than_the_window(&key, waits, config)?;
    if task.fargate {
        found.help.push_str("; Fargate waits 120s at most");
    }
    Some(found)
}

/// Containers stop in the reverse order of their dependencies: the proxy has to be first.
fn order(proxy: &Container, task: &Task) -> Vec<Finding> {
    let own = &proxy.name;
    let others = task
        .containers
        .iter()
        .filter(|container| container.name != *own);
    let backwards = |other: &&Container| other.depends_on.iter().any(|on| on.on == *own);
    let help = format!("let {own} depend on the agent instead, with HEALTHY");
    let mut found: Vec<_> = others
        .clone()
        .filter(backwards)
        .map(|other| {
            let what =
                format!("it depends on {own}, and is stopped before it: the drain finds no agent");
            cut(
                format!("container {}: dependsOn", other.name),
                what,
                help.clone(),
            )
        })
        .collect();
    let key = format!("container {own}: dependsOn");
    if proxy.depends_on.is_empty() && found.is_empty() && others.count() > 0 {
        let what = "it depends on nobody: the agent gets its SIGTERM at the same time, and not when the drain is over";
        found.push(cut(key, what, "let it depend on the agent, with HEALTHY"));
        return found;
    }
    let early = proxy.depends_on.iter().filter(|on| on.condition == "START");
    found.extend(early.map(|on| {
        let what = format!(
            "it starts when {} has, and not when that is healthy: the first clients meet a 502",
            on.on
        );
        finding(
            Severity::Warning,
            key.clone(),
            what,
            "write HEALTHY, and give the agent a healthCheck".into(),
        )
    }));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::check::rules::tests::{example, keys};

    fn shipped() -> Value {
        let text = include_str!("../../../../config/examples/ecs/task-definition.json");
        serde_json::from_str(text).expect("JSON")
    }

    /// What is found when one thing is changed in what is shipped: a value, or nothing in its place.
    fn with(at: &str, value: Option<Value>) -> Vec<String> {
        let mut definition = shipped();
        let (parent, key) = at.rsplit_once('/').expect("a pointer");
        let parent = definition
            .pointer_mut(parent)
            .and_then(Value::as_object_mut);
        let parent = parent.expect("an object");
        match value {
            Some(value) => parent.insert(key.into(), value),
            None => parent.remove(key),
        };
        let mut config = example("ecs");
        let ecs = config.platforms.ecs.as_mut().expect("it is on");
        ecs.protect_when = ProtectWhen::OpenAbove(0);
        let task = Task::of(&definition).expect("a task");
        keys(&findings(&task, "lameduck", &[], &config))
    }

    #[test]
    fn nothing_is_found_in_what_is_shipped() {
        assert_eq!(with("/family", Some(json!("agent"))), [""; 0]);
    }

    #[test]
    fn each_mistake_in_a_task_is_found() {
        let stop = ["E container lameduck: stopTimeout"];
        assert_eq!(with("/containerDefinitions/1/stopTimeout", None), stop);
        assert_eq!(
            with("/containerDefinitions/1/stopTimeout", Some(json!(60))),
            stop
        );
        let order = ["E container lameduck: dependsOn"];
        assert_eq!(with("/containerDefinitions/1/dependsOn", None), order);
        let on = |name: &str, condition: &str| {
            Some(json!([{"containerName": name, "condition": condition}]))
        };
        let start = with("/containerDefinitions/1/dependsOn", on("agent", "START"));
        assert_eq!(start, ["W container lameduck: dependsOn"]);
        let backwards = with(
            "/containerDefinitions/0/dependsOn",
            on("lameduck", "HEALTHY"),
        );
        assert_eq!(backwards, ["E container agent: dependsOn"]);
        assert_eq!(with("/taskRoleArn", None), ["W taskRoleArn"]);
        let command = Some(
            json!({"command": ["CMD", "/lameduck", "healthcheck", "--url", "http://127.0.0.1:9180/readyz"]}),
        );
        let health = with("/containerDefinitions/1/healthCheck", command);
        assert_eq!(health, ["E container lameduck: healthCheck"]);
        assert_eq!(
            with("/containerDefinitions/1/name", Some(json!("proxy"))),
            ["W task agent"]
        );
    }

    #[test]
    fn fargate_has_a_most() {
        let task = Task::of(&shipped()).expect("a task");
        let mut config = example("ecs");
        config.drain.window.length = Duration::from_secs(300);
        let found = findings(&task, "lameduck", &[], &config);
        assert_eq!(keys(&found), ["E container lameduck: stopTimeout"]);
        assert!(found[0].help.contains("Fargate waits 120s"), "{}", found[0]);
    }
}
