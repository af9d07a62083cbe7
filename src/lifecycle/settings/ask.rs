//! Asks a platform how it is set.

use crate::config::{Config, PlatformName};

use super::{Machine, Pod, TargetGroup, Task};

/// What a platform said.
#[derive(Clone, Debug)]
pub enum Said {
    /// About a machine of EC2.
    Machine(Machine),
    /// About a task of ECS.
    Task {
        /// Its definition.
        task: Task,
        /// The name of the container that asked.
        own: String,
        /// The target groups of its service.
        targets: Vec<TargetGroup>,
    },
    /// About a pod.
    Pod(Pod),
}

/// Asks a platform that is on in this configuration.
///
/// # Errors
/// Why it did not say, in words for people.
pub async fn ask(platform: PlatformName, config: &Config) -> Result<Said, String> {
    match (platform, &config.platforms) {
        #[cfg(feature = "aws")]
        (PlatformName::Aws, platforms) if let Some(settings) = &platforms.aws => {
            crate::lifecycle::aws::ask(settings)
                .await
                .map(Said::Machine)
        }
        #[cfg(all(feature = "aws", feature = "ecs"))]
        (PlatformName::Ecs, _) => {
            let (task, own, targets) = crate::lifecycle::aws::ask_of_task().await?;
            Ok(Said::Task { task, own, targets })
        }
        #[cfg(feature = "kubernetes")]
        (PlatformName::Kubernetes, platforms) if let Some(settings) = &platforms.kubernetes => {
            crate::lifecycle::kubernetes::ask(settings)
                .await
                .map(Said::Pod)
        }
        _ => Err("this build of the program cannot ask it".to_owned()),
    }
}
