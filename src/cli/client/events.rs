//! The stream of events, as far as the proxy writes it: an event is two lines, its data JSON.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use memchr::memmem;

use super::wire::Wire;
use super::{Error, Report};
use crate::admin::control::Status;

/// The longest event that is waited for.
const LARGEST: usize = 4 << 20;

/// What has happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// How it stands now.
    Status(Box<Status>),
    /// A drain is over.
    Report(Box<Report>),
}

/// An open stream.
pub(crate) struct Events {
    wire: Wire,
    body: Incoming,
    buffer: BytesMut,
}

impl Events {
    pub(super) fn new(wire: Wire, body: Incoming) -> Events {
        Events {
            wire,
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next event; none when the stream ends, however it does. Cancel safe.
    ///
    /// # Errors
    /// When what comes is no event.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            while let Some(end) = memmem::find(&self.buffer, b"\n\n") {
                let event = self.buffer.split_to(end + 2);
                if let Some(event) = parse(&event)? {
                    return Ok(Some(event));
                }
            }
            if self.buffer.len() > LARGEST {
                return Err(Error::Strange("an event without an end".to_owned()));
            }
            let frame = async { self.body.frame().await.transpose() };
            let Ok(Some(frame)) = self.wire.drive(frame).await else {
                return Ok(None);
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// An event; none for a comment, and for one that this version does not know.
fn parse(text: &[u8]) -> Result<Option<Event>, Error> {
    let strange = |error: &dyn std::fmt::Display| Error::Strange(error.to_string());
    let text = std::str::from_utf8(text).map_err(|error| strange(&error))?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ").unwrap_or_default();
    match field("event: ") {
        Some("status" | "phase" | "counts") => {
            let status = serde_json::from_str(data).map_err(|error| strange(&error))?;
            Ok(Some(Event::Status(Box::new(status))))
        }
        Some("report") => {
            let report = serde_json::from_str(data).map_err(|error| strange(&error))?;
            Ok(Some(Event::Report(Box::new(report))))
        }
        _ => Ok(None),
    }
}
