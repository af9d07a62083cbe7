//! Azure's scheduled events, as the metadata service tells them.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::config::OnFreeze;

/// What is left at the least, as far as the drain is concerned: an event whose time has come, or
/// whose clock is not ours, still leaves a moment for polite words.
const LEAST_LEFT: Duration = Duration::from_secs(5);

/// The document.
#[derive(Debug, Deserialize)]
struct Document {
    // Without it nothing is said of events, not even that there are none.
    #[serde(rename = "Events")]
    events: Vec<Event>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event {
    pub(super) event_id: String,
    event_type: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    event_status: String,
    #[serde(default)]
    not_before: String,
}

impl Event {
    /// What was heard, for the log and the report.
    pub(super) fn sign(&self) -> String {
        format!("{} {}", self.event_type, self.event_id)
    }

    /// Whether a machine has to go because of this.
    pub(super) fn sends_away(&self, machine: &str, on_freeze: OnFreeze) -> bool {
        let is_ours = || {
            let mut resources = self.resources.iter();
            resources.any(|name| name.eq_ignore_ascii_case(machine))
        };
        match self.event_type.as_str() {
            "Terminate" | "Preempt" | "Redeploy" | "Reboot" => is_ours(),
            "Freeze" => on_freeze == OnFreeze::Drain && is_ours(),
            _ => false,
        }
    }

    /// Whether no other machine is concerned: an acknowledgement goes for all that are.
    pub(super) fn is_for_one(&self) -> bool {
        self.resources.len() == 1
    }

    /// Whether the platform has begun to act.
    pub(super) fn has_started(&self) -> bool {
        self.event_status == "Started"
    }

    /// Whether the machine goes on as it was once this has passed.
    pub(super) fn passes(&self) -> bool {
        self.event_type == "Freeze"
    }

    /// How long there is until the platform acts.
    ///
    /// # Errors
    /// The text that is no time.
    pub(super) fn left(&self, now: SystemTime) -> Result<Option<Duration>, &str> {
        if self.not_before.is_empty() {
            return Ok(self.has_started().then_some(LEAST_LEFT));
        }
        let at = httpdate::parse_http_date(&self.not_before).map_err(|_| &*self.not_before)?;
        let left = at.duration_since(now).unwrap_or_default();
        Ok(Some(left.max(LEAST_LEFT)))
    }
}

/// The events in a document.
///
/// # Errors
/// What is no such document, in words.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, String> {
    let document: Result<Document, _> = serde_json::from_slice(body);
    let document = document.map_err(|error| format!("no document of events: {error}"))?;
    Ok(document.events)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"DocumentIncarnation":2,"Events":[
        {"EventId":"C7","EventStatus":"Scheduled","EventType":"Terminate",
         "ResourceType":"VirtualMachine","Resources":["agents_1","agents_3"],
         "NotBefore":"Mon, 19 Sep 2022 18:29:47 GMT","Description":"","EventSource":"User",
         "DurationInSeconds":-1},
        {"EventId":"F1","EventStatus":"Started","EventType":"Freeze","Resources":["agents_3"],
         "NotBefore":""}]}"#;

    fn moment(text: &str) -> SystemTime {
        httpdate::parse_http_date(text).unwrap()
    }

    #[test]
    fn an_event_says_whom_it_concerns_and_when() {
        let events = parse(DOCUMENT.as_bytes()).unwrap();
        let [terminate, freeze] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(terminate.sign(), "Terminate C7");
        assert!(terminate.sends_away("agents_3", OnFreeze::Ignore));
        assert!(terminate.sends_away("AGENTS_1", OnFreeze::Ignore));
        assert!(!terminate.sends_away("agents_30", OnFreeze::Drain));
        assert!(!terminate.is_for_one() && !terminate.has_started());
        let before = moment("Mon, 19 Sep 2022 18:24:47 GMT");
        assert_eq!(terminate.left(before), Ok(Some(Duration::from_secs(300))));
        let after = moment("Mon, 19 Sep 2022 18:30:47 GMT");
        assert_eq!(terminate.left(after), Ok(Some(LEAST_LEFT)));

        assert!(!freeze.sends_away("agents_3", OnFreeze::Ignore));
        assert!(freeze.sends_away("agents_3", OnFreeze::Drain));
        assert!(freeze.is_for_one() && freeze.has_started() && freeze.passes());
        assert_eq!(freeze.left(before), Ok(Some(LEAST_LEFT)));
    }

    #[test]
    fn what_is_no_document_is_said_to_be_none() {
        assert_eq!(parse(b"{\"Events\":[]}").unwrap(), []);
        for text in ["", "<html>", "[]", "{}", "{\"Events\":[{}]}"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.starts_with("no document of events"), "{error}");
        }
        let mut event = parse(DOCUMENT.as_bytes()).unwrap().remove(0);
        event.not_before = "soon".to_owned();
        assert_eq!(event.left(SystemTime::now()), Err("soon"));
    }
}
