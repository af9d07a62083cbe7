//! How the cloud misbehaves when told to.

use std::time::Duration;

use super::World;
use super::http::Answer;
use super::xml;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends without an answer.
    Down,
    /// Nothing comes back, for as long as anybody waits.
    Silent,
    /// The server is at fault.
    Broken,
    /// Too many calls.
    Throttled,
    /// The credentials have run out.
    Expired,
    /// The call was signed at another time.
    Skewed,
    /// The answer takes this long.
    Slow(Duration),
    /// The answer is cut off inside.
    Malformed,
}

impl World {
    /// What goes wrong with this call of a service, if anything; used up by asking.
    pub(super) fn fault_of(&mut self, service: &str, name: &str) -> Option<Fault> {
        let hit = |(calls, _, left): &&mut (String, Fault, usize)| {
            *left > 0 && (calls == service || calls == name)
        };
        let (_, fault, left) = self.faults.iter_mut().find(hit)?;
        *left -= 1;
        Some(*fault)
    }
}

/// The answer in place of the right one. Faults that have none are not for here.
pub(super) fn answer(service: &str, fault: Fault) -> Answer {
    match (service, fault) {
        ("sqs", Fault::Throttled) => Answer::json_error(400, "com.amazonaws.sqs#RequestThrottled"),
        ("sqs", Fault::Expired) => {
            Answer::json_error(403, "com.amazon.coral.service#ExpiredTokenException")
        }
        ("sqs", Fault::Skewed) => {
            Answer::json_error(400, "com.amazon.coral.service#InvalidSignatureException")
        }
        (_, Fault::Skewed) => {
            let said = "Signature expired: it is now earlier than it should be";
            xml::error(403, "SignatureDoesNotMatch", said)
        }
        ("autoscaling" | "elasticloadbalancing" | "sts", Fault::Throttled) => {
            xml::error(400, "Throttling", "Rate exceeded")
        }
        ("autoscaling" | "elasticloadbalancing" | "sts", Fault::Expired) => {
            let said = "The security token included in the request is expired";
            xml::error(403, "ExpiredToken", said)
        }
        ("autoscaling" | "elasticloadbalancing" | "sts", Fault::Malformed) => {
            Answer::xml("<?xml version=\"1.0\"?><Desc".to_owned())
        }
        (_, Fault::Throttled) => Answer::text(429, "slow down"),
        (_, Fault::Expired) => Answer::text(401, "expired"),
        (_, Fault::Malformed) => Answer::json(r#"{"Messages":[{"Bo"#.to_owned()),
        (_, _) => Answer::text(500, "it is not your fault"),
    }
}
