//! Azure: scheduled events of the virtual machine, and their acknowledgement.

mod book;
mod events;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::config::PlatformName;
use crate::config::platform::Azure;
use crate::drain::Report;
use crate::session::Phase;

use super::backoff::{Backoff, jittered};
use super::desk::{Desk, Desks, Leaving};
use super::platform::{Completion, Doing, Platform, Trigger};

use book::Book;
use events::{Event, parse};

const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const NAME: &str = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";

/// The first call for the events switches them on, which takes up to two minutes.
const FIRST: Duration = Duration::from_secs(150);
/// Any other call is answered by the machine's own host.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest wait after a failure: a Spot machine is told 30 s ahead.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The platform, with what triggers drains and what acknowledges them.
pub(super) fn platform(settings: &Azure, desks: &Desks) -> Platform {
    let machine = Machine {
        settings: settings.clone(),
        book: Book::default(),
        acknowledging: Arc::default(),
    };
    Platform {
        desk: Desk::new(PlatformName::Azure, desks, None),
        triggers: vec![Box::new(machine.clone())],
        completions: vec![Box::new(machine)],
    }
}

/// This virtual machine, as the metadata service knows it.
#[derive(Clone)]
struct Machine {
    settings: Azure,
    book: Book,
    /// Held while the platform is told: the end of the drain and a look at the events come together,
    /// and each would find the same event waiting.
    acknowledging: Arc<Mutex<()>>,
}

impl Trigger for Machine {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move { self.look_out(&desk).await })
    }
}

impl Completion for Machine {
    fn complete<'a>(&'a self, desk: &'a Desk, _report: Arc<Report>) -> Doing<'a> {
        Box::pin(self.acknowledge(desk))
    }
}

impl Machine {
    async fn look_out(&self, desk: &Desk) {
        let poll = self.settings.poll;
        let mut backoff = Backoff::new(poll.min(LONGEST_WAIT), poll.max(LONGEST_WAIT));
        let mut name = self.settings.vm_name.clone();
        let mut limit = FIRST;
        loop {
            if name.is_none() {
                name = self.name(desk).await;
            }
            // Asked for even where the name is not known yet: the first call switches them on.
            let events = self.events(desk, limit).await;
            if let (Some(events), Some(name)) = (&events, &name) {
                self.heed(desk, name, events).await;
            }
            match events {
                Some(_) => {
                    limit = LIMIT;
                    backoff.reset();
                    sleep(jittered(poll)).await;
                }
                None => sleep(backoff.next()).await,
            }
        }
    }

    /// The name of this machine in the events.
    async fn name(&self, desk: &Desk) -> Option<String> {
        let answer = self.call(desk, "name", Method::GET, NAME, Bytes::new(), LIMIT);
        let body = answer.await?;
        let name = String::from_utf8_lossy(&body).trim().to_owned();
        if name.is_empty() {
            desk.went("name", Err(("empty", "the name is empty".to_owned())));
            return None;
        }
        desk.went("name", Ok(()));
        desk.know("name", name.as_str());
        Some(name)
    }

    /// The events that there are; none if the platform does not say.
    async fn events(&self, desk: &Desk, limit: Duration) -> Option<Vec<Event>> {
        const CALL: &str = "events";
        let answer = self.call(desk, CALL, Method::GET, EVENTS, Bytes::new(), limit);
        match parse(&answer.await?) {
            Ok(events) => {
                desk.went(CALL, Ok(()));
                Some(events)
            }
            Err(error) => {
                desk.went(CALL, Err(("malformed", error)));
                None
            }
        }
    }

    /// Sees to what is new in the events.
    async fn heed(&self, desk: &Desk, name: &str, events: &[Event]) {
        let on_freeze = self.settings.on_freeze;
        let ours = events.iter();
        let ours = ours.filter(|event| event.sends_away(name, on_freeze));
        let ours: Vec<_> = ours.cloned().collect();
        let news = self.book.note(&ours);
        for event in &news.new {
            let left = event.left(SystemTime::now()).unwrap_or_else(|text| {
                tracing::warn!(platform = "azure", not_before = text, "not a time");
                None
            });
            desk.know("event", event.sign());
            desk.leaving(Leaving {
                sign: event.sign(),
                left,
                looks_away: false,
            });
        }
        if let Some(event) = news.withdrawn {
            desk.know("event", "none");
            desk.staying(&format!("{} was withdrawn", event.sign()))
                .await;
        }
        // An event that comes when the drain is over, and one whose acknowledgement failed.
        let phase = desk.phase().borrow().phase;
        if phase == Phase::Drained {
            self.acknowledge(desk).await;
        }
    }

    /// Has the platform go on, where that is nobody's business but ours.
    async fn acknowledge(&self, desk: &Desk) {
        if !self.settings.acknowledge {
            return;
        }
        let _alone = self.acknowledging.lock().await;
        for event in self.book.waiting() {
            if !event.is_for_one() {
                tracing::info!(
                    platform = "azure",
                    event = event.sign(),
                    "not acknowledged: the event is other machines' too"
                );
                self.book.settle(&event, false);
                continue;
            }
            const CALL: &str = "acknowledge";
            let body = serde_json::json!({"StartRequests": [{"EventId": event.event_id}]});
            let body = Bytes::from(body.to_string());
            let answer = self.call(desk, CALL, Method::POST, EVENTS, body, LIMIT);
            if answer.await.is_some() {
                desk.went(CALL, Ok(()));
                tracing::info!(platform = "azure", event = event.sign(), "acknowledged");
                self.book.settle(&event, true);
            }
        }
    }

    /// The body of an answer that went well. What kept it from coming is told to the desk.
    async fn call(
        &self,
        desk: &Desk,
        call: &'static str,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Option<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.settings.endpoint))
            .header("Metadata", "true")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body);
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                desk.went(call, Err(("url", error.to_string())));
                return None;
            }
        };
        match Box::pin(desk.send(request, limit)).await {
            Ok(answer) if answer.status() == StatusCode::OK => Some(answer.into_body()),
            Ok(answer) => {
                let status = answer.status();
                desk.went(call, Err(("status", format!("answered {status}"))));
                None
            }
            Err(failed) => {
                desk.went(call, Err((failed.label(), failed.to_string())));
                None
            }
        }
    }
}
