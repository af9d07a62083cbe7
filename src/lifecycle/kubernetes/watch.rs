//! Looks at the pod: whether it is being deleted, how much grace there is, who else is still there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::lifecycle::backoff::{Backoff, jittered};
use crate::lifecycle::desk::{Desk, Leaving, Load};
use crate::lifecycle::platform::{Doing, Trigger};
use crate::session::Phase;

use super::api::Api;
use super::pod::Pod;
use super::seen::Seen;

/// The name of the call.
const CALL: &str = "get pod";
/// While nothing is answered, the wait grows to so many times the usual one.
const SLOWER: u32 = 6;
/// What a drain is given at the least: the kubelet is not so exact.
const LEAST: Duration = Duration::from_secs(1);

/// Watches our own pod.
pub(super) struct Watch {
    pub(super) api: Arc<Api>,
    pub(super) seen: Arc<Seen>,
    pub(super) poll: Duration,
}

/// What was seen so far.
#[derive(Default)]
struct Known {
    /// When it was last seen that there is no deletion.
    stays: Option<Instant>,
    /// The deletion that was reported.
    deletion: Option<String>,
    /// Whether it was reported that nobody else is there.
    alone: bool,
}

impl Trigger for Watch {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move {
            let mut phase = desk.phase();
            let mut backoff = Backoff::new(self.poll, self.poll * SLOWER);
            let mut known = Known::default();
            loop {
                phase.mark_unchanged();
                let asked = Instant::now();
                let wait = match self.api.pod().await {
                    Ok(pod) => {
                        desk.went(CALL, Ok(()));
                        backoff.reset();
                        self.note(&desk, &pod, asked, &mut known);
                        jittered(self.poll)
                    }
                    Err(wrong) if wrong.is_final() => {
                        desk.forbidden(CALL, &wrong.story);
                        return;
                    }
                    Err(wrong) => {
                        desk.went(CALL, Err((wrong.word, wrong.story)));
                        backoff.next()
                    }
                };
                // A drain that begins is often the sign of a deletion: its preStop comes first.
                let drains = async {
                    while phase.changed().await.is_ok() {
                        if phase.borrow().phase > Phase::Serving {
                            return true;
                        }
                    }
                    false
                };
                tokio::select! {
                    () = sleep(wait) => {}
                    drains = drains => if !drains { return },
                }
            }
        })
    }
}

impl Watch {
    /// Notes what is seen in an answer to what was asked at that moment, and reports what is a sign.
    fn note(&self, desk: &Desk, pod: &Pod, asked: Instant, known: &mut Known) {
        self.seen.uid_is(pod.uid());
        if let Some(node) = pod.node()
            && desk.know("node", node)
        {
            let Api { namespace, pod, .. } = &*self.api;
            tracing::info!(platform = "kubernetes", namespace, pod, node, "this pod");
        }
        if let Some(grace) = pod.grace_period() {
            desk.windows().learn("grace period", grace.max(LEAST));
        }
        let Some(deletion) = pod.deletion() else {
            known.stays = Some(asked);
            return;
        };
        self.seen.delete();
        if known.deletion.as_deref() != Some(deletion.at) {
            known.deletion = Some(deletion.at.to_owned());
            desk.know("deletion", deletion.at);
            let since = known.stays.map(|stays| stays.elapsed());
            let left = deletion.left(SystemTime::now(), since);
            desk.leaving(Leaving {
                sign: format!("the pod is being deleted, to be gone by {}", deletion.at),
                left: Some(left.max(LEAST)),
                // An endpoint is not ready from the deletion on, whatever its probes say.
                looks_away: true,
            });
        }
        if pod.others_have_exited() {
            desk.know("other containers", "exited");
            self.hurry(desk, known);
        }
    }

    /// Sessions end with their agent; a hold of one that is gone would keep us for nothing.
    fn hurry(&self, desk: &Desk, known: &mut Known) {
        let drains = desk.phase().borrow().phase < Phase::Drained;
        let Load { open, holds } = desk.load();
        if drains && open == 0 && holds > 0 && !known.alone {
            known.alone = true;
            desk.leaving(Leaving {
                sign: "all other containers have exited".to_owned(),
                left: Some(LEAST),
                looks_away: true,
            });
        }
    }
}
