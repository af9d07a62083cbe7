//! What deleting the pod would cost: the cheapest goes first when a ReplicaSet shrinks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::lifecycle::backoff::Backoff;
use crate::lifecycle::desk::Desk;
use crate::lifecycle::platform::{Doing, Trigger};

use super::api::Api;
use super::seen::Seen;

/// The name of the call.
const CALL: &str = "patch pod";
/// The annotation; an int32 in text.
const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";
/// How often it is looked whether the cost has changed.
const LOOK: Duration = Duration::from_secs(1);
/// While it cannot be written, the wait grows to so many times the usual one.
const SLOWER: u32 = 10;
/// A change of less than this part is not worth a call.
const PART: u64 = 10;

/// Keeps the annotation near the truth.
pub(super) struct Cost {
    pub(super) api: Arc<Api>,
    pub(super) seen: Arc<Seen>,
    pub(super) every: Duration,
}

impl Trigger for Cost {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move {
            let mut backoff = Backoff::new(self.every, self.every * SLOWER);
            let mut written = None;
            // Nobody chooses a pod that is going already.
            while !self.seen.is_deleted() {
                let cost = cost(&desk);
                if !is_worth_it(written, cost) {
                    sleep(LOOK.min(self.every)).await;
                    continue;
                }
                let patch = json!({"metadata": {"annotations": {ANNOTATION: cost.to_string()}}});
                let wait = match self.api.patch_pod(&patch).await {
                    Ok(()) => {
                        desk.went(CALL, Ok(()));
                        desk.know("deletion cost", cost.to_string());
                        backoff.reset();
                        written = Some(cost);
                        self.every
                    }
                    Err(wrong) if wrong.is_final() => {
                        desk.forbidden(CALL, &wrong.story);
                        return;
                    }
                    Err(wrong) => {
                        desk.went(CALL, Err((wrong.word, wrong.story)));
                        // Never sooner than a change would be written.
                        self.every + backoff.next()
                    }
                };
                sleep(wait).await;
            }
        })
    }
}

/// What is open and held, as far as an int32 goes.
fn cost(desk: &Desk) -> u64 {
    let load = desk.load();
    let most = i32::MAX.unsigned_abs();
    load.open.saturating_add(load.holds as u64).min(most.into())
}

/// Whether the cost is so far from what was written that it is written anew. At the start it always
/// is: the process before us may have left its own.
fn is_worth_it(written: Option<u64>, cost: u64) -> bool {
    written.is_none_or(|written| cost.abs_diff(written).saturating_mul(PART) > written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_written_when_it_is_more_than_a_tenth() {
        for (written, cost, worth) in [
            (None, 0, true),
            (Some(0), 0, false),
            (Some(0), 1, true),
            (Some(1), 0, true),
            (Some(9), 10, true),
            (Some(10), 11, false),
            (Some(10), 12, true),
            (Some(1_000), 1_100, false),
            (Some(1_000), 899, true),
            (Some(5), 5, false),
        ] {
            assert_eq!(is_worth_it(written, cost), worth, "{written:?} {cost}");
        }
    }
}
