//! Which events of this machine are known, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::events::Event;

/// An event that sends this machine away.
#[derive(Clone, Debug)]
struct Entry {
    event: Event,
    /// Whether the platform has begun to act, or was told to.
    has_started: bool,
    /// Whether it was looked at for its acknowledgement.
    settled: bool,
}

/// What a look at the events brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Events that were not there before.
    pub(super) new: Vec<Event>,
    /// The last event that was taken back, if none is left.
    pub(super) withdrawn: Option<Event>,
}

/// The events that send this machine away; the trigger writes them, both see to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Book(Arc<Mutex<BTreeMap<String, Entry>>>);

impl Book {
    /// Notes the events that send this machine away now.
    pub(super) fn note(&self, events: &[Event]) -> News {
        let mut book = self.lock();
        let mut news = News::default();
        let gone: Vec<_> = book
            .keys()
            .filter(|id| events.iter().all(|event| event.event_id != **id))
            .cloned()
            .collect();
        for id in gone {
            let entry = book.remove(&id);
            // One that had started is over only for a machine that outlives it.
            let back = entry.filter(|entry| !entry.has_started || entry.event.passes());
            news.withdrawn = back.map(|entry| entry.event).or(news.withdrawn);
        }
        for event in events {
            match book.get_mut(&event.event_id) {
                Some(entry) => entry.has_started |= event.has_started(),
                None => {
                    let entry = Entry {
                        event: event.clone(),
                        has_started: event.has_started(),
                        settled: false,
                    };
                    book.insert(event.event_id.clone(), entry);
                    news.new.push(event.clone());
                }
            }
        }
        if !book.is_empty() {
            news.withdrawn = None;
        }
        news
    }

    /// The events that wait for an acknowledgement.
    pub(super) fn waiting(&self) -> Vec<Event> {
        let book = self.lock();
        let waiting = book
            .values()
            .filter(|entry| !entry.has_started && !entry.settled);
        waiting.map(|entry| entry.event.clone()).collect()
    }

    /// Notes that there is no more to be done for an event; `told` if the platform was told to act.
    pub(super) fn settle(&self, event: &Event, told: bool) {
        if let Some(entry) = self.lock().get_mut(&event.event_id) {
            entry.settled = true;
            entry.has_started |= told;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::events::parse;
    use super::*;

    fn event(id: &str, kind: &str, status: &str) -> Event {
        let text = format!(
            r#"{{"Events":[{{"EventId":"{id}","EventType":"{kind}","EventStatus":"{status}",
               "Resources":["vm"]}}]}}"#
        );
        parse(text.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn an_event_is_news_once_and_its_withdrawal_too() {
        let book = Book::default();
        let (one, two) = (
            event("1", "Reboot", "Scheduled"),
            event("2", "Terminate", "Scheduled"),
        );
        assert_eq!(book.note(from_ref(&one)).new, from_ref(&one));
        assert_eq!(
            book.note(&[one.clone(), two.clone()]).new,
            from_ref(&two),
            "the first is known"
        );
        // As long as another is left, the machine goes.
        assert_eq!(book.note(from_ref(&two)), News::default());
        assert_eq!(book.note(&[]).withdrawn, Some(two));
        assert_eq!(book.note(&[]), News::default());
    }

    #[test]
    fn what_has_started_is_not_taken_back_unless_it_passes() {
        for (kind, back) in [("Redeploy", false), ("Freeze", true)] {
            let book = Book::default();
            book.note(&[event("1", kind, "Scheduled")]);
            book.note(&[event("1", kind, "Started")]);
            assert_eq!(book.note(&[]).withdrawn.is_some(), back, "{kind}");
        }
    }

    #[test]
    fn an_acknowledged_event_has_started_for_all_we_know() {
        let book = Book::default();
        let one = event("1", "Reboot", "Scheduled");
        book.note(from_ref(&one));
        assert_eq!(book.waiting(), from_ref(&one));
        book.settle(&one, true);
        assert_eq!(book.waiting(), []);
        assert_eq!(book.note(&[]), News::default());
    }
}
