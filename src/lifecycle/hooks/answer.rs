//! What an agent answers to a hook.

use std::time::Duration;

use serde_json::Value;

use crate::config::{Wrong, flag};

/// An answer that asks for something that cannot be made out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAnswer {
    #[error("the answer is no JSON object; it may be empty, or {{\"hold\":\"20s\"}}")]
    NoObject,
    #[error("hold: {0}; write a duration in quotes, such as \"20s\"")]
    Hold(String),
}

/// How long the agent wants the drain to be held up; an answer may be silent about it.
pub(super) fn wanted(body: &[u8]) -> Result<Option<Duration>, BadAnswer> {
    if body.is_empty() {
        return Ok(None);
    }
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Err(BadAnswer::NoObject);
    };
    match fields.get("hold") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match flag::positive_duration(text) {
            Ok(duration) => Ok(Some(duration)),
            Err(Wrong { what, .. }) => Err(BadAnswer::Hold(what)),
        },
        Some(other) => Err(BadAnswer::Hold(format!("`{other}` is not a duration"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_may_ask_for_a_hold_or_not() {
        for (body, expected) in [
            ("", None),
            ("{}", None),
            (r#"{"ok":true}"#, None),
            (r#"{"hold":null}"#, None),
            (r#"{"hold":"20s","why":"saving"}"#, Some(20)),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(wanted(body.as_bytes()), Ok(expected), "{body}");
        }
        for (body, words) in [
            ("ok", "no JSON object"),
            ("[]", "no JSON object"),
            ("\"20s\"", "no JSON object"),
            ("{\"hold\":", "no JSON object"),
            (r#"{"hold":20}"#, "hold: `20` is not a duration"),
            (r#"{"hold":"20"}"#, "hold: `20` has no unit"),
            (r#"{"hold":"0s"}"#, "hold: must be longer than zero"),
        ] {
            let wrong = wanted(body.as_bytes()).unwrap_err().to_string();
            assert!(wrong.contains(words), "{body}: {wrong}");
        }
    }
}
