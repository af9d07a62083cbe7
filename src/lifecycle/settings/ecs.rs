//! A task of ECS, as its definition says.

use std::time::Duration;

use serde_json::Value;

use super::{list, seconds, text, texts};

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The family of its definition.
    pub family: String,
    /// Whether it may run on Fargate.
    pub fargate: bool,
    /// Whether its containers have a role of their own.
    pub has_role: bool,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// A container of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// From SIGTERM to SIGKILL, where it is said.
    pub stop_timeout: Option<Duration>,
    /// Whom it waits for at the start, and who waits for it at the stop.
    pub depends_on: Vec<Dependency>,
    /// The command of its health check; none if it has none.
    pub health_command: Vec<String>,
}

/// One container waits for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The other.
    pub on: String,
    /// What it waits for: `START`, `HEALTHY` and so on.
    pub condition: String,
}

impl Task {
    /// Out of a task definition, as `DescribeTaskDefinition` gives and `RegisterTaskDefinition`
    /// takes it.
    pub fn of(definition: &Value) -> Option<Task> {
        let fargate = |list: &[String]| list.iter().any(|name| name == "FARGATE");
        Some(Task {
            family: text(definition, "/family")?,
            fargate: fargate(&texts(definition, "/requiresCompatibilities")),
            has_role: text(definition, "/taskRoleArn").is_some(),
            containers: list(definition, "/containerDefinitions")
                .filter_map(Container::of)
                .collect(),
        })
    }
}

impl Container {
    fn of(definition: &Value) -> Option<Container> {
        let dependency = |one: &Value| {
            Some(Dependency {
                on: text(one, "/containerName")?,
                condition: text(one, "/condition")?,
            })
        };
        Some(Container {
            name: text(definition, "/name")?,
            image: text(definition, "/image").unwrap_or_default(),
            stop_timeout: seconds(definition, "/stopTimeout"),
            depends_on: list(definition, "/dependsOn")
                .filter_map(dependency)
                .collect(),
            health_command: texts(definition, "/healthCheck/command"),
        })
    }
}
