//! What the access log is told of a connection's sessions. Without one, nothing is looked at.

use std::sync::Arc;

use http::{Request, StatusCode};

use super::Conn;
use crate::session::{self, Counted, Home, Record, SessionId};

impl Conn {
    /// Notes what is asked for.
    pub(in crate::http) fn note_request<B>(&self, request: &Request<B>) {
        self.with_record(|record| {
            record.request = Some(session::Request {
                method: request.method().as_str().into(),
                path: request.uri().path().into(),
                status: None,
            });
        });
    }

    /// Notes what is answered.
    pub(in crate::http) fn note_status(&self, status: StatusCode) {
        self.with_record(|record| {
            if let Some(request) = &mut record.request {
                request.status = Some(status.as_u16());
            }
        });
    }

    /// Notes who answers.
    pub(in crate::http) fn note_upstream(&self, upstream: Option<&Arc<str>>) {
        self.with_record(|record| record.upstream = upstream.cloned());
    }

    /// Has a session that follows on a request told of with that request.
    pub(in crate::http) fn hand_record_on(&self, counted: &mut Counted, status: StatusCode) {
        let Some(next) = counted.record() else {
            return;
        };
        self.with_record(|record| {
            next.request.clone_from(&record.request);
            next.upstream.clone_from(&record.upstream);
        });
        if let Some(request) = &mut next.request {
            request.status = Some(status.as_u16());
        }
    }

    fn with_record(&self, f: impl FnOnce(&mut Record)) {
        let mut session = self.session.borrow_mut();
        if let Some(record) = session.as_mut().and_then(Counted::record) {
            f(record);
        }
    }

    /// Notes what can be told of a session at its end.
    pub(super) fn note(&self, session: &mut Counted) {
        let Some(record) = session.record() else {
            return;
        };
        let id = SessionId::new(self.worker, Home::Http, self.slot, self.turn.get());
        record.id = Some(id);
        record.client = Some(self.client);
        record.key.clone_from(&self.key.borrow());
        record.asked = self.told.get().is_some();
        let bytes = [0, 1].map(|way| self.wire.bytes(way));
        let before = self.told_bytes.replace(bytes);
        record.bytes = [0, 1].map(|way| bytes[way] - before[way]);
    }
}
