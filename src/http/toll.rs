//! What a request's body has to keep to: its size and its speed, where they are limited.

use std::rc::Rc;

use crate::session::Refusal;

use super::conn::Conn;
use super::server::Site;

/// Why a request's body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The client's connection or framing broke.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// It is larger than it may be.
    #[error("the request body is too large")]
    TooLarge,
}

/// The limits of one body.
pub(super) struct Toll {
    site: Rc<Site>,
    conn: Rc<Conn>,
    /// Bytes that may still come.
    left: u64,
}

impl Toll {
    /// The limits that a request of a connection has to keep to; none if there are none.
    pub(super) fn of(site: &Rc<Site>, conn: &Rc<Conn>) -> Option<Box<Toll>> {
        let limits = &site.limits;
        let limited = limits.max_request_body.is_some() || limits.min_speed.is_some();
        limited.then(|| {
            Box::new(Toll {
                site: Rc::clone(site),
                conn: Rc::clone(conn),
                left: limits.max_request_body.unwrap_or(u64::MAX),
            })
        })
    }

    /// Counts bytes that have come; false, once and for all, if they are too many.
    pub(super) fn takes(&mut self, length: u64) -> bool {
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                let Site {
                    ledger, listener, ..
                } = &*self.site;
                ledger.refused(*listener, Refusal::RequestBody);
                false
            }
        }
    }

    /// Notes whether it is the client's turn to send.
    pub(super) fn waits_for_the_client(&self, waits: bool) {
        self.conn.owes_a_body(waits);
    }
}
