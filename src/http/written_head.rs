//! The head of a request as it went to the agent, from which the request can be made once more.
//!
//! A pooled connection may turn out to have been closed when the request is on its way. What may be sent
//! twice then is sent on another one, and to note the bytes that pass by costs less than a copy of each head.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;

use super::request_body::RequestBody;

/// Room that is kept from one request to the next.
const KEPT: usize = 4096;

/// What was written last on a connection of what was to be noted. Clones share it.
///
/// hyper wants the socket's side `Send`, so this is shared as between threads, though one uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenHead(Arc<Note>);

#[derive(Debug, Default)]
struct Note {
    is_awaited: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl WrittenHead {
    /// Has the next write noted: that of a request without a body, which is its head.
    pub(super) fn await_next(&self) {
        self.0.is_awaited.store(true, Ordering::Relaxed);
    }

    /// Notes what is to be written, if it is awaited: all of it, for the rest of a write that comes to
    /// less is not the next one.
    pub(super) fn note(&self, pieces: &[IoSlice<'_>]) {
        if !self.0.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        self.0.is_awaited.store(false, Ordering::Relaxed);
        let mut bytes = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.clear();
        bytes.shrink_to(KEPT);
        for piece in pieces {
            bytes.extend_from_slice(piece);
        }
    }

    /// The request, once more; none if nothing was written since it was awaited.
    pub(super) fn request(&self) -> Option<Request<RequestBody>> {
        if self.0.is_awaited.load(Ordering::Relaxed) {
            return None;
        }
        let bytes = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let mut fields = vec![httparse::EMPTY_HEADER; lines];
        let mut head = httparse::Request::new(&mut fields);
        if !head.parse(&bytes).ok()?.is_complete() {
            return None;
        }
        let mut request = Request::builder().method(head.method?).uri(head.path?);
        for field in head.headers {
            request = request.header(field.name, field.value);
        }
        request.body(RequestBody::empty()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /a?b=%20 HTTP/1.1\r\nhost: a.example\r\nx: 1\r\nx: \xe4\r\n\r\n";

    #[test]
    fn the_request_is_made_once_more() {
        let head = WrittenHead::default();
        head.await_next();
        assert!(head.request().is_none(), "nothing was written");
        head.note(&[IoSlice::new(&HEAD[..9]), IoSlice::new(&HEAD[9..])]);
        // The rest of a write that took a part only.
        head.note(&[IoSlice::new(&HEAD[20..])]);
        let request = head.request().unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!(request.uri(), "/a?b=%20");
        assert_eq!(request.headers()["host"], "a.example");
        let values: Vec<_> = request.headers().get_all("x").iter().collect();
        assert_eq!(
            [values[0].as_bytes(), values[1].as_bytes()],
            [&b"1"[..], b"\xe4"]
        );
    }

    #[test]
    fn the_last_request_is_never_taken_for_this_one() {
        let head = WrittenHead::default();
        head.note(&[IoSlice::new(HEAD)]);
        assert!(head.request().is_none(), "it was not awaited");
        head.await_next();
        head.note(&[IoSlice::new(HEAD)]);
        head.await_next();
        assert!(head.request().is_none(), "that was the one before");
    }
}
