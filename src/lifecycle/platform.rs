//! Platforms: what starts a drain, who is kept waiting meanwhile, who is told that it is over.
//!
//! Another platform is a file with its triggers and its completion, and a line in [`all`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::drain::Report;
use crate::net::Tasks;
use crate::session::{DrainView, Phase, PhaseView};

use super::desk::{Desk, Desks};

/// What an implementation of the traits gives back.
pub(super) type Doing<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Hears of the end, and tells the desk. Dropped when the process ends.
pub(super) trait Trigger: Send {
    /// Watches for signs for as long as it is polled.
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static>;
}

/// Is kept waiting during a drain, and told when it is over.
pub(super) trait Completion: Send {
    /// Keeps the platform waiting for as long as it is polled: dropped when the drain is over or
    /// cancelled.
    fn keep_waiting<'a>(&'a self, desk: &'a Desk, drain: DrainView) -> Doing<'a> {
        let _ = (desk, drain);
        Box::pin(std::future::pending())
    }

    /// Tells the platform that the drain is over. Where the platform is not ready to hear of it this
    /// may wait as long as the process stays drained; it is dropped unfinished when the process
    /// serves again, and some time after the process has begun to end.
    fn complete<'a>(&'a self, desk: &'a Desk, report: Arc<Report>) -> Doing<'a>;

    /// How long that may take, however little is left of the window.
    fn needs(&self) -> Duration {
        LEAST
    }
}

/// One platform, to be set going.
pub(super) struct Platform {
    pub(super) desk: Desk,
    pub(super) triggers: Vec<Box<dyn Trigger>>,
    pub(super) completions: Vec<Box<dyn Completion>>,
}

/// The least and the most that a completion may take: beyond the window there is nobody to tell, but
/// a drain that was cut at its deadline is worth a word too.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(60);

/// The platforms that are on.
pub struct Platforms(Vec<Platform>);

impl Platforms {
    /// Those of a configuration; none if none is on.
    pub fn new(settings: &config::Platforms, desks: &Desks) -> Option<Platforms> {
        let platforms = all(settings, desks);
        (!platforms.is_empty()).then_some(Platforms(platforms))
    }

    /// Watches, keeps waiting and completes, until `ending`: then what is still to be completed is.
    pub async fn run(self, ending: CancellationToken) {
        let desks: Vec<_> = self
            .0
            .iter()
            .map(|platform| platform.desk.clone())
            .collect();
        let watching = Tasks::new();
        let completing = Tasks::new();
        for platform in self.0 {
            let Platform {
                desk,
                triggers,
                completions,
            } = platform;
            for trigger in triggers {
                watching.spawn(trigger.watch(desk.clone()));
            }
            for completion in completions {
                completing.spawn(follow(completion, desk.clone(), ending.clone()));
            }
        }
        ending.cancelled().await;
        desks.iter().for_each(Desk::end);
        completing.all_gone().await;
    }
}

/// The platforms that are on.
fn all(settings: &config::Platforms, desks: &Desks) -> Vec<Platform> {
    let mut platforms = Vec::new();
    #[cfg(feature = "aws")]
    platforms.extend(
        settings
            .aws
            .iter()
            .map(|aws| super::aws::platform(aws, desks)),
    );
    #[cfg(feature = "ecs")]
    platforms.extend(
        settings
            .ecs
            .iter()
            .map(|ecs| super::ecs::platform(ecs, desks)),
    );
    #[cfg(feature = "kubernetes")]
    platforms.extend(
        settings
            .kubernetes
            .iter()
            .map(|pod| super::kubernetes::platform(pod, desks)),
    );
    #[cfg(feature = "azure")]
    platforms.extend(
        settings
            .azure
            .iter()
            .map(|azure| super::azure::platform(azure, desks)),
    );
    #[cfg(feature = "gcp")]
    platforms.extend(
        settings
            .gcp
            .iter()
            .map(|gcp| super::gcp::platform(gcp, desks)),
    );
    platforms.extend(
        settings
            .other
            .iter()
            .map(|other| super::other::platform(other, desks)),
    );
    platforms
}

/// Keeps one platform waiting during each drain, and completes it once at its end.
async fn follow(completion: Box<dyn Completion>, desk: Desk, ending: CancellationToken) {
    let mut phase = desk.phase();
    let mut completed = None;
    loop {
        let view = phase.borrow_and_update().clone();
        let started = of(&view);
        match (&view.drain, view.phase) {
            (Some(drain), Phase::Drained) if started != completed => {
                completed = started;
                if let Some(report) = desk.report() {
                    let told = completion.complete(&desk, report);
                    let again = phase.wait_for(|now| of(now) != started);
                    tokio::select! {
                        () = told => {}
                        // Gone with its process, the phase says nothing; the limit still holds.
                        Ok(_) = again => {}
                        limit = too_late(&ending, drain.ends, completion.needs()) => {
                            tracing::warn!(?limit, "a platform could not be told of the drain's end");
                        }
                    }
                }
                continue;
            }
            (Some(drain), phase_now) if phase_now < Phase::Drained => {
                let waiting = completion.keep_waiting(&desk, drain.clone());
                let over = phase.wait_for(|now| !is_of(now, drain));
                tokio::select! {
                    // What has nothing more to do is not what ends a drain.
                    () = async { waiting.await; std::future::pending().await } => {}
                    gone = over => if gone.is_err() { return },
                }
                continue;
            }
            _ => {}
        }
        tokio::select! {
            // The end of the process comes right behind that of its drain, which is seen first.
            biased;
            changed = phase.changed() => if changed.is_err() { return },
            () = ending.cancelled() => return,
        }
    }
}

/// Waits until an ending process can wait no longer for a platform to be told; gives how long it did.
async fn too_late(ending: &CancellationToken, ends: Instant, needs: Duration) -> Duration {
    ending.cancelled().await;
    let left = ends.saturating_duration_since(Instant::now());
    let limit = left.clamp(needs, needs.max(MOST));
    sleep(limit).await;
    limit
}

/// Which drain is under way, or over.
fn of(now: &PhaseView) -> Option<Instant> {
    now.drain.as_ref().map(|drain| drain.started)
}

/// Whether a drain is still under way.
fn is_of(now: &PhaseView, drain: &DrainView) -> bool {
    now.phase < Phase::Drained && of(now) == Some(drain.started)
}
