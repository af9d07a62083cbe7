//! The agent's word on a task's protection: one call sets it, for a time or not at all.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Uri};
use serde::{Deserialize, Serialize};

use crate::lifecycle::desk::Desk;

/// The name of the call.
pub(super) const CALL: &str = "protection";

/// The longest that an answer may take: the agent asks ECS in its turn.
const LIMIT: Duration = Duration::from_secs(4);

/// Where the agent is.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) uri: Uri,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wish {
    protection_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_minutes: Option<u64>,
}

/// One of the three is there, whatever the status.
#[derive(Debug, Deserialize)]
struct Answer {
    protection: Option<Protection>,
    failure: Option<Failure>,
    error: Option<Fault>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Protection {
    protection_enabled: bool,
    expiration_date: Option<String>,
}

/// ECS has understood, and does not do it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    reason: Option<String>,
    detail: Option<String>,
}

/// The agent or ECS could not do it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fault {
    code: Option<String>,
    message: Option<String>,
}

impl Agent {
    /// Protects the task for so long, or no longer; true if it is so now.
    pub(super) async fn set(&self, desk: &Desk, protected: Option<Duration>) -> bool {
        let wish = Wish {
            protection_enabled: protected.is_some(),
            expires_in_minutes: protected.map(|length| length.as_secs() / 60),
        };
        match self.call(desk, &wish).await {
            Ok(until) => {
                desk.went(CALL, Ok(()));
                let said = match (wish.protection_enabled, until) {
                    (true, Some(until)) => format!("until {until}"),
                    (true, None) => "on".to_owned(),
                    (false, _) => "off".to_owned(),
                };
                desk.know("protection", said);
                true
            }
            Err(error) => {
                desk.went(CALL, Err(error));
                false
            }
        }
    }

    async fn call(
        &self,
        desk: &Desk,
        wish: &Wish,
    ) -> Result<Option<String>, (&'static str, String)> {
        let body = serde_json::to_vec(wish).map_err(|error| ("malformed", error.to_string()))?;
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = self.uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let answer = desk.send(request, LIMIT).await;
        let answer = answer.map_err(|error| (error.label(), error.to_string()))?;
        let status = answer.status();
        match serde_json::from_slice(answer.body()) {
            Ok(answer) => judge(answer, wish.protection_enabled),
            Err(_) => Err((
                "malformed",
                format!("the answer was {status}, and no JSON of the agent's"),
            )),
        }
    }
}

/// When the protection ends, if the answer is a yes.
fn judge(answer: Answer, wished: bool) -> Result<Option<String>, (&'static str, String)> {
    let said = |what: Option<String>| what.unwrap_or_default();
    match answer {
        Answer {
            error: Some(Fault { code, message }),
            ..
        } => Err(("error", format!("{}: {}", said(code), said(message)))),
        Answer {
            failure: Some(Failure { reason, detail }),
            ..
        } => Err((
            "failure",
            format!("{} {}", said(reason), said(detail))
                .trim_end()
                .to_owned(),
        )),
        Answer {
            protection: Some(protection),
            ..
        } if protection.protection_enabled == wished => Ok(protection.expiration_date),
        _ => Err((
            "malformed",
            "the answer does not say what was asked for".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of the developer guide's "task-scale-in-protection-endpoint".
    #[test]
    fn answers_are_a_yes_a_failure_or_an_error() {
        let judged = |text: &str, wished| judge(serde_json::from_str(text).expect("JSON"), wished);
        let yes = r#"{"protection":{"ExpirationDate":"2021-12-20T21:57:44.837Z",
            "ProtectionEnabled":true,"TaskArn":"arn:aws:ecs:us-west-2:111122223333:task/1234567890abcdef0"}}"#;
        assert_eq!(
            judged(yes, true),
            Ok(Some("2021-12-20T21:57:44.837Z".to_owned()))
        );
        assert_eq!(judged(yes, false).expect_err("still on").0, "malformed");
        let off =
            r#"{"protection":{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"arn"}}"#;
        assert_eq!(judged(off, false), Ok(None));
        let failure = r#"{"failure":{"Arn":"arn","Detail":null,"Reason":"TASK_NOT_VALID"}}"#;
        assert_eq!(
            judged(failure, true),
            Err(("failure", "TASK_NOT_VALID".to_owned()))
        );
        let error = r#"{"requestID":"12345-abc-6789-0123-abc","error":{"Arn":"arn",
            "Code":"AccessDeniedException","Message":"User is not authorized"}}"#;
        let told = "AccessDeniedException: User is not authorized".to_owned();
        assert_eq!(judged(error, true), Err(("error", told)));
        assert_eq!(judged("{}", true).expect_err("nothing").0, "malformed");
    }

    #[test]
    fn a_wish_is_written_as_the_agent_reads_it() {
        let text = |on, minutes| {
            serde_json::to_string(&Wish {
                protection_enabled: on,
                expires_in_minutes: minutes,
            })
            .expect("JSON")
        };
        assert_eq!(
            text(true, Some(60)),
            r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#
        );
        assert_eq!(text(false, None), r#"{"ProtectionEnabled":false}"#);
    }
}
