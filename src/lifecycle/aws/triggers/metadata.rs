//! The signs in the instance's own metadata: where its group is moving it, and Spot notices.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::config::OnRebalance;
use crate::lifecycle::aws::cloud::Cloud;
use crate::lifecycle::aws::imds::Silent;
use crate::lifecycle::aws::state::Target;
use crate::lifecycle::backoff::{Backoff, jittered};
use crate::lifecycle::desk::{Desk, Leaving};
use crate::lifecycle::platform::{Doing, Trigger};
use crate::session::Phase;

/// So many times the usual wait is the longest while the service is silent.
const PATIENCE: u32 = 6;
/// What a notice leaves at the least, since the machine is still there, and at the most: clocks may
/// be off.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(120);

/// Polls the metadata service.
pub(in crate::lifecycle::aws) struct Metadata(pub(in crate::lifecycle::aws) Arc<Cloud>);

impl Trigger for Metadata {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move { Seen::new(self.0, desk).watch().await })
    }
}

/// What was seen before, so that each sign is told once.
struct Seen {
    cloud: Arc<Cloud>,
    desk: Desk,
    leaves: bool,
    interruption: bool,
    rebalance: bool,
}

impl Seen {
    fn new(cloud: Arc<Cloud>, desk: Desk) -> Seen {
        Seen {
            cloud,
            desk,
            leaves: false,
            interruption: false,
            rebalance: false,
        }
    }

    async fn watch(mut self) {
        if !self.cloud.api.imds.is_on() {
            return;
        }
        let every = self.cloud.settings.poll;
        let mut backoff = Backoff::new(every, every * PATIENCE);
        loop {
            let wait = match self.look().await {
                Ok(()) => {
                    backoff.reset();
                    jittered(every)
                }
                // The service has been judged; what it is silent about cannot be helped.
                Err(_) => backoff.next(),
            };
            sleep(wait).await;
        }
    }

    async fn look(&mut self) -> Result<(), Silent> {
        let cloud = Arc::clone(&self.cloud);
        let imds = &cloud.api.imds;
        let target = imds.get("autoscaling/target-lifecycle-state").await?;
        self.target(target.as_deref()).await;
        let interruption = imds.get("spot/instance-action").await?;
        self.interruption(interruption.as_deref());
        let rebalance = imds.get("events/recommendations/rebalance").await?;
        self.rebalance(rebalance.as_deref());
        Ok(())
    }

    /// Where the group is moving the instance; nowhere if it is in none.
    async fn target(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            return;
        };
        self.desk.know("target_lifecycle_state", text);
        match Target::of(text) {
            Target::Leaves if !self.leaves => {
                self.leaves = true;
                self.leaving(format!("target lifecycle state {text}"), None);
            }
            // Whoever is being asked to go cannot be kept; afterwards the process can come back.
            Target::Stays if self.leaves && !self.is_closing() => {
                self.leaves = false;
                let sign = format!("target lifecycle state {text}");
                self.desk.staying(&sign).await;
            }
            Target::Leaves | Target::Stays | Target::Unknown => {}
        }
    }

    fn is_closing(&self) -> bool {
        self.desk.phase().borrow().phase == Phase::Closing
    }

    fn interruption(&mut self, body: Option<&str>) {
        let Some(body) = body else {
            self.interruption = false;
            return;
        };
        if !std::mem::replace(&mut self.interruption, true) {
            let Interruption { action, time } = Interruption::of(body);
            let left = time.map(|time| self.cloud.api.clock.until(time).clamp(LEAST, MOST));
            self.desk.know("spot_interruption", body);
            self.leaving(format!("Spot interruption: {action}"), left);
        }
    }

    fn rebalance(&mut self, body: Option<&str>) {
        let Some(body) = body else {
            self.rebalance = false;
            return;
        };
        if !std::mem::replace(&mut self.rebalance, true) {
            self.desk.know("rebalance_recommendation", body);
            if self.cloud.settings.on_rebalance == OnRebalance::Drain {
                self.leaving("rebalance recommendation".to_owned(), None);
            }
        }
    }

    fn leaving(&self, sign: String, left: Option<Duration>) {
        self.desk.leaving(Leaving {
            sign,
            left,
            // The balancer learns of it from the group, sooner or later.
            looks_away: false,
        });
    }
}

/// What is going to be done to a Spot instance, and when.
struct Interruption {
    action: String,
    time: Option<SystemTime>,
}

impl Interruption {
    /// A notice is one even if it cannot be made out.
    fn of(body: &str) -> Interruption {
        let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let text = |name| value.get(name).and_then(|field| field.as_str());
        Interruption {
            action: text("action").unwrap_or("unclear").to_owned(),
            time: text("time").and_then(|time| humantime::parse_rfc3339(time).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_what_and_when_or_is_still_one() {
        let notice = Interruption::of(r#"{"action":"stop","time":"2017-09-18T08:22:00Z"}"#);
        let then = humantime::parse_rfc3339("2017-09-18T08:22:00Z").ok();
        assert_eq!((&*notice.action, notice.time), ("stop", then));
        for odd in ["", "terminate", "{", r#"{"action":1,"time":"soon"}"#] {
            let notice = Interruption::of(odd);
            assert_eq!((&*notice.action, notice.time), ("unclear", None), "{odd}");
        }
    }
}
