//! Events on the pod: a drain begins, and how it was over (`Event` of `core/v1`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::drain::Report;
use crate::lifecycle::desk::{Desk, Load};
use crate::lifecycle::platform::{Completion, Doing};
use crate::session::DrainView;

use super::api::Api;
use super::seen::Seen;

/// The name of the call.
const CALL: &str = "create event";
/// Who reports, as events show it.
const REPORTER: &str = "lameduck";
/// How much of a pod's name is taken into an event's, which has room for 253 characters.
const NAME: usize = 220;

/// Writes the events of a drain.
#[derive(Debug)]
pub(super) struct Events {
    api: Arc<Api>,
    seen: Arc<Seen>,
    forbidden: AtomicBool,
    /// The event of the drain's beginning, until it is written: the drain may be over first.
    begun: Mutex<Option<Value>>,
}

impl Events {
    pub(super) fn new(api: Arc<Api>, seen: Arc<Seen>) -> Events {
        Events {
            api,
            seen,
            forbidden: AtomicBool::new(false),
            begun: Mutex::default(),
        }
    }

    /// The event, of a name that no other has.
    fn event(&self, kind: &str, reason: &str, message: &str) -> Value {
        let Api { namespace, pod, .. } = &*self.api;
        let now = SystemTime::now();
        let at = humantime::format_rfc3339_seconds(now).to_string();
        let nanos = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let named: String = pod.chars().take(NAME).collect();
        let mut involved = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": pod,
        });
        // By it `kubectl describe` finds the events of a pod.
        if let Some(uid) = self.seen.uid() {
            involved["uid"] = uid.into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": format!("{named}.{nanos:x}"), "namespace": namespace},
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "source": {"component": REPORTER},
            "reportingComponent": REPORTER,
            "reportingInstance": pod,
        })
    }

    async fn write(&self, desk: &Desk, event: &Value) {
        if self.forbidden.load(Ordering::Relaxed) {
            return;
        }
        match self.api.create_event(event).await {
            Ok(()) => desk.went(CALL, Ok(())),
            Err(wrong) if wrong.is_final() => {
                self.forbidden.store(true, Ordering::Relaxed);
                desk.forbidden(CALL, &wrong.story);
            }
            Err(wrong) => desk.went(CALL, Err((wrong.word, wrong.story))),
        }
    }

    fn begun(&self, event: Option<Value>) -> Option<Value> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut begun, event)
    }
}

impl Completion for Events {
    fn keep_waiting<'a>(&'a self, desk: &'a Desk, drain: DrainView) -> Doing<'a> {
        Box::pin(async move {
            let event = self.event("Normal", "DrainStarted", &started(&drain, desk.load()));
            self.begun(Some(event.clone()));
            self.write(desk, &event).await;
            self.begun(None);
        })
    }

    fn complete<'a>(&'a self, desk: &'a Desk, report: Arc<Report>) -> Doing<'a> {
        Box::pin(async move {
            if let Some(event) = self.begun(None) {
                self.write(desk, &event).await;
            }
            let (kind, reason) = match report.cut {
                0 => ("Normal", "Drained"),
                _ => ("Warning", "SessionsCut"),
            };
            self.write(desk, &self.event(kind, reason, &ended(&report)))
                .await;
        })
    }
}

fn started(drain: &DrainView, load: Load) -> String {
    let (open, holds) = (
        counted(load.open, "session"),
        counted(load.holds as u64, "hold"),
    );
    let why = drain.reason.as_deref().unwrap_or("no reason given");
    let (window, trigger) = (shown(drain.window), drain.trigger);
    format!("Draining {open} and {holds} within {window}, by {trigger}: {why}")
}

fn ended(report: &Report) -> String {
    let at_start: u64 = report.kinds.values().map(|kind| kind.at_start).sum();
    let mut outcomes = BTreeMap::<_, u64>::new();
    let each = report.kinds.values().flat_map(|kind| &kind.outcomes);
    for (outcome, count) in each.filter(|(_, count)| **count > 0) {
        *outcomes.entry(*outcome).or_default() += count;
    }
    let outcomes = outcomes
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"));
    let took = report.ended.duration_since(report.started);
    let head = format!(
        "Drained after {}, with {} at the start",
        shown(took.unwrap_or_default()),
        counted(at_start, "session")
    );
    match outcomes.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => head,
        outcomes => format!("{head}; since then {outcomes}"),
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// To the tenth of a second.
fn shown(length: Duration) -> String {
    format!("{:.1}s", length.as_secs_f64())
}
