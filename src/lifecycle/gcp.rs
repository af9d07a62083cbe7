//! GCP: the metadata service says when the machine is preempted, or its host is maintained.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use http::header::ETAG;
use http::{Request, StatusCode};
use tokio::time::{Instant, sleep};

use crate::config::PlatformName;
use crate::config::platform::Gcp;

use super::backoff::{Backoff, jittered};
use super::desk::{Desk, Desks, Leaving};
use super::platform::{Doing, Platform, Trigger};

/// How long the service waits for a change before it answers all the same.
const WAIT: Duration = Duration::from_secs(300);
/// How long it may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
/// An answer that came sooner, and without a change, did not wait.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Between two looks at a service that does not wait.
const POLL: Duration = Duration::from_secs(5);
/// The waits after failures. The service answers 503 when it is maintained itself.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A preempted machine is switched off after this.
const PREEMPTED: Duration = Duration::from_secs(30);
/// A machine that is not moved is stopped after this.
const STOPPED: Duration = Duration::from_secs(60);

/// The platform, with what triggers drains.
pub(super) fn platform(settings: &Gcp, desks: &Desks) -> Platform {
    let own = settings.endpoint.clone();
    let base = own.unwrap_or_else(|| base(std::env::var("GCE_METADATA_HOST").ok().as_deref()));
    let machine = Machine {
        base,
        has_to_go: Cell::default(),
    };
    Platform {
        desk: Desk::new(PlatformName::Gcp, desks, None),
        triggers: vec![Box::new(machine)],
        completions: Vec::new(),
    }
}

/// The beginning of the URLs, with the host that the environment names.
fn base(host: Option<&str>) -> String {
    match host {
        Some(host) if !host.is_empty() => format!("http://{host}"),
        _ => "http://metadata.google.internal".to_owned(),
    }
}

/// What a value means for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// It goes, in this time.
    Going(Duration),
    /// It stays.
    Staying,
}

/// A value of the metadata that is watched.
struct Watched {
    /// The call's name, and that of the fact.
    name: &'static str,
    path: &'static str,
    means: fn(&str) -> Means,
}

const PREEMPTION: Watched = Watched {
    name: "preempted",
    path: "/computeMetadata/v1/instance/preempted",
    means: |value| match value {
        "TRUE" => Means::Going(PREEMPTED),
        _ => Means::Staying,
    },
};

const MAINTENANCE: Watched = Watched {
    name: "maintenance_event",
    path: "/computeMetadata/v1/instance/maintenance-event",
    means: |value| match value {
        "TERMINATE_ON_HOST_MAINTENANCE" => Means::Going(STOPPED),
        // A machine that is moved to another host keeps its connections.
        _ => Means::Staying,
    },
};

/// This virtual machine, as the metadata service knows it.
struct Machine {
    base: String,
    /// How many of the values say that it goes.
    has_to_go: Cell<u8>,
}

impl Trigger for Machine {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move {
            tokio::join!(
                self.look_out(&desk, &PREEMPTION),
                self.look_out(&desk, &MAINTENANCE),
            );
        })
    }
}

impl Machine {
    /// Follows a value for good.
    async fn look_out(&self, desk: &Desk, watched: &Watched) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        // The first answer comes at once; from then on none is missed between two calls.
        let mut last: Option<Value> = None;
        let mut means = Means::Staying;
        loop {
            let asked = Instant::now();
            let Some(value) = self.value(desk, watched, last.as_ref()).await else {
                sleep(backoff.next()).await;
                continue;
            };
            backoff.reset();
            let now = (watched.means)(&value.text);
            desk.know(watched.name, value.text.as_str());
            if now != means {
                means = now;
                self.heed(desk, watched, &value.text, means).await;
            }
            if last.as_ref() == Some(&value) && asked.elapsed() < AT_ONCE {
                sleep(jittered(POLL)).await;
            }
            last = Some(value);
        }
    }

    /// Reports what a value means that has changed.
    async fn heed(&self, desk: &Desk, watched: &Watched, value: &str, means: Means) {
        let sign = format!("{} {value}", watched.name);
        match means {
            Means::Going(left) => {
                self.has_to_go.set(self.has_to_go.get() + 1);
                desk.leaving(Leaving {
                    sign,
                    left: Some(left),
                    looks_away: false,
                });
            }
            Means::Staying => {
                let others = self.has_to_go.get().saturating_sub(1);
                self.has_to_go.set(others);
                if others == 0 {
                    desk.staying(&sign).await;
                }
            }
        }
    }

    /// A value: at once if there was none before, else when it is another, or after a while.
    async fn value(&self, desk: &Desk, watched: &Watched, last: Option<&Value>) -> Option<Value> {
        let base = &self.base;
        let path = watched.path;
        let url = match last {
            None => format!("{base}{path}"),
            Some(Value { etag, .. }) => {
                let wait = WAIT.as_secs();
                format!("{base}{path}?wait_for_change=true&timeout_sec={wait}&last_etag={etag}")
            }
        };
        let got = get(desk, url).await;
        match got {
            Ok(value) => {
                desk.went(watched.name, Ok(()));
                Some(value)
            }
            Err(failed) => {
                desk.went(watched.name, Err(failed));
                None
            }
        }
    }
}

/// A value, and the mark by which the service knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    text: String,
    etag: String,
}

async fn get(desk: &Desk, url: String) -> Result<Value, (&'static str, String)> {
    let request = Request::get(url)
        .header("Metadata-Flavor", "Google")
        .body(Bytes::new())
        .map_err(|error| ("url", error.to_string()))?;
    let answer = Box::pin(desk.send(request, WAIT + SLACK))
        .await
        .map_err(|failed| (failed.label(), failed.to_string()))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::SERVICE_UNAVAILABLE => {
            return Err(("unavailable", "answered 503".to_owned()));
        }
        status => return Err(("status", format!("answered {status}"))),
    }
    let etag = answer.headers().get(ETAG);
    let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or("0");
    // It goes into a URL; the service's own marks are of these characters.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let etag = if etag.chars().all(is_plain) {
        etag
    } else {
        "0"
    };
    Ok(Value {
        etag: etag.to_owned(),
        text: String::from_utf8_lossy(answer.body()).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_may_name_the_host() {
        assert_eq!(base(None), "http://metadata.google.internal");
        assert_eq!(base(Some("")), "http://metadata.google.internal");
        assert_eq!(base(Some("10.0.0.1:8080")), "http://10.0.0.1:8080");
    }

    #[test]
    fn preempted_and_stopped_machines_go_and_moved_ones_stay() {
        for (watched, value, means) in [
            (PREEMPTION, "TRUE", Means::Going(PREEMPTED)),
            (PREEMPTION, "FALSE", Means::Staying),
            (MAINTENANCE, "NONE", Means::Staying),
            (MAINTENANCE, "MIGRATE_ON_HOST_MAINTENANCE", Means::Staying),
            (
                MAINTENANCE,
                "TERMINATE_ON_HOST_MAINTENANCE",
                Means::Going(STOPPED),
            ),
        ] {
            assert_eq!((watched.means)(value), means, "{value}");
        }
    }
}
