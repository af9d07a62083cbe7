//! What can be known beforehand: the hooks of the group, and how long everybody waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::lifecycle::aws::autoscaling;
use crate::lifecycle::aws::balancing;
use crate::lifecycle::aws::cloud::Cloud;
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::backoff::{Backoff, jittered};
use crate::lifecycle::desk::Desk;
use crate::lifecycle::platform::{Doing, Trigger};

/// Settings change rarely.
const EVERY: Duration = Duration::from_secs(600);
/// While calls fail.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Asks for settings, at the start and from time to time.
pub(in crate::lifecycle::aws) struct Learned(pub(in crate::lifecycle::aws) Arc<Cloud>);

impl Trigger for Learned {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move {
            let cloud = &*self.0;
            tokio::join!(hooks(cloud, &desk), delays(cloud, &desk));
        })
    }
}

async fn hooks(cloud: &Cloud, desk: &Desk) {
    let mut known = cloud.known();
    let mut backoff = Backoff::new(FIRST, LONGEST);
    loop {
        let Ok(group) = known
            .wait_for(|known| known.group.is_some())
            .await
            .map(|known| known.group.clone())
        else {
            return;
        };
        let went = learn_hooks(cloud, desk, &group.unwrap_or_default()).await;
        sleep(after(&went, &mut backoff)).await;
    }
}

async fn learn_hooks(cloud: &Cloud, desk: &Desk, group: &str) -> Result<(), Fault> {
    let found = autoscaling::hooks(&cloud.api, group).await?;
    let names: Vec<_> = found.iter().map(|hook| hook.name.clone()).collect();
    let names = names.join(", ");
    let several = cloud.note(|known| known.has_hooks(found, Instant::now()));
    let is_news = desk.know("hooks", names.clone());
    if several && is_news {
        tracing::warn!(
            hooks = names,
            "several hooks wait when an instance is terminated: say with lifecycle_hook which are \
             to be completed"
        );
    }
    let ours = cloud.known().borrow().hooks.clone().unwrap_or_default();
    for hook in ours {
        let (timeout, most) = (hook.heartbeat.as_secs(), hook.global.as_secs());
        desk.know("hook_timeout", format!("{timeout}s, at most {most}s"));
        // Heartbeats prolong the wait, each by the hook's timeout; only the global timeout ends it
        // whatever is done. So that is what there is for a drain.
        desk.windows()
            .learn(&format!("hook {}", hook.name), hook.global);
    }
    Ok(())
}

async fn delays(cloud: &Cloud, desk: &Desk) {
    // Nobody would look at them.
    if !desk.windows().are_wanted() {
        return;
    }
    let mut backoff = Backoff::new(FIRST, LONGEST);
    loop {
        let mut went = Ok(());
        for group in &cloud.settings.target_groups {
            match balancing::delay(&cloud.api, group).await {
                Ok(Some(delay)) => {
                    let source = format!("target group {}", group.name());
                    desk.windows().learn(&source, delay);
                }
                Ok(None) => {}
                Err(fault) => went = Err(fault),
            }
        }
        sleep(after(&went, &mut backoff)).await;
    }
}

fn after(went: &Result<(), Fault>, backoff: &mut Backoff) -> Duration {
    if went.is_ok() {
        backoff.reset();
        jittered(EVERY)
    } else {
        backoff.next()
    }
}
