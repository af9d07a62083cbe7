//! What all that speaks to the cloud shares.

use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use super::api::Api;
use super::autoscaling;
use super::balancing::Target;
use super::environment::Environment;
use super::fault::Fault;
use super::known::Known;
use crate::config;
use crate::lifecycle::desk::Desk;

/// The cloud, and what is known of the own instance.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) desk: Desk,
    pub(super) api: Api,
    pub(super) settings: config::Aws,
    known: watch::Sender<Known>,
    instance: OnceCell<String>,
}

impl Cloud {
    pub(super) fn new(desk: Desk, settings: &config::Aws, environment: Environment) -> Cloud {
        let known = Known::new(settings.group.clone(), &settings.lifecycle_hook);
        Cloud {
            api: Api::new(&desk, environment),
            desk,
            settings: settings.clone(),
            known: watch::Sender::new(known),
            instance: OnceCell::new(),
        }
    }

    /// What is known, to be watched.
    pub(super) fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// Notes what was heard.
    pub(super) fn note<T: Default>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut result = T::default();
        self.known.send_modify(|known| result = change(known));
        result
    }

    /// The id of the instance; nothing while the metadata service does not say.
    pub(super) async fn instance(&self) -> Option<&str> {
        let found = self.instance.get_or_try_init(async || {
            let id = self.api.imds.get("instance-id").await.ok().flatten();
            let id = id.filter(|id| !id.is_empty()).ok_or(())?;
            self.desk.know("instance", id.clone());
            Ok::<_, ()>(id)
        });
        found.await.ok().map(String::as_str)
    }

    /// What the target groups know us by.
    pub(super) async fn target(&self) -> Option<Target> {
        let id = match self.settings.target_ip {
            Some(ip) => ip.to_string(),
            None => self.instance().await?.to_owned(),
        };
        let port = self.settings.target_port;
        Some(Target { id, port })
    }

    /// Looks at what the group says of the instance; true if that could be asked.
    ///
    /// # Errors
    /// When it could be asked, and there was no answer.
    pub(super) async fn look(&self) -> Result<bool, Fault> {
        let Some(instance) = self.instance().await else {
            return Ok(false);
        };
        let member = autoscaling::member(&self.api, instance).await?;
        let desk = &self.desk;
        match &member {
            Some(member) => {
                desk.know("group", member.group.clone());
                desk.know("lifecycle_state", member.state.to_string());
            }
            None => {
                desk.know("lifecycle_state", "in no group");
            }
        }
        self.note(|known| known.seen(member, Instant::now()));
        Ok(true)
    }
}
