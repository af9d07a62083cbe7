//! The instance leaves its target groups by itself: the one clean way to get nothing new, and keep
//! what is open, behind every kind of balancer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::balancing::{self, Target};
use super::cloud::Cloud;
use super::fault::Fault;
use crate::config::TargetGroup;
use crate::drain::Report;
use crate::lifecycle::backoff::{Backoff, jittered};
use crate::lifecycle::desk::{Desk, Leaving};
use crate::lifecycle::platform::{Completion, Doing};
use crate::session::DrainView;

/// Between two looks whether the balancers look away.
const LOOK: Duration = Duration::from_secs(3);
/// While calls fail.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Deregisters at the start of each drain.
pub(super) struct Deregistration(pub(super) Arc<Cloud>);

impl Completion for Deregistration {
    fn keep_waiting<'a>(&'a self, desk: &'a Desk, drain: DrainView) -> Doing<'a> {
        Box::pin(self.leave(desk, drain))
    }

    fn complete<'a>(&'a self, _: &'a Desk, _: Arc<Report>) -> Doing<'a> {
        Box::pin(std::future::ready(()))
    }
}

impl Deregistration {
    async fn leave(&self, desk: &Desk, drain: DrainView) {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let target = loop {
            match self.0.target().await {
                Some(target) => break target,
                None => sleep(backoff.next()).await,
            }
        };
        let groups = &self.0.settings.target_groups;
        for group in groups {
            let mut backoff = Backoff::new(FIRST, LONGEST);
            while balancing::deregister(&self.0.api, group, &target)
                .await
                .is_err()
            {
                sleep(backoff.next()).await;
            }
            tracing::info!(group = group.name(), "left the target group");
        }
        while !matches!(self.is_away(groups, &target).await, Ok(true)) {
            sleep(jittered(LOOK)).await;
        }
        // A balancer that already looked away has nothing new to say.
        if !drain.looks_away {
            desk.leaving(Leaving {
                sign: "left the target groups".to_owned(),
                left: None,
                looks_away: true,
            });
        }
    }

    async fn is_away(&self, groups: &[TargetGroup], target: &Target) -> Result<bool, Fault> {
        for group in groups {
            let health = balancing::health(&self.0.api, group, target).await?;
            if !health.looks_away() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
