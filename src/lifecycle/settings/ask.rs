//! Asks a platform how it is set.

use crate::config::{Config, PlatformName};

use super::Pod;

/// What a platform said.
#[derive(Clone, Debug)]
pub enum Said {
    /// About a pod.
    Pod(Pod),
}

/// Asks a platform that is on in this configuration.
///
/// # Errors
/// Why it did not say, in words for people.
pub async fn ask(platform: PlatformName, config: &Config) -> Result<Said, String> {
    match (platform, &config.platforms) {
        #[cfg(feature = "kubernetes")]
        (PlatformName::Kubernetes, platforms) if let Some(settings) = &platforms.kubernetes => {
            crate::lifecycle::kubernetes::ask(settings)
                .await
                .map(Said::Pod)
        }
        _ => Err("this build of the program cannot ask it".to_owned()),
    }
}
