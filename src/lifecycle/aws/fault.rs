//! Why a call brought nothing.

use super::xml::Element;
use crate::lifecycle::call::Failed;

/// More of a message than this tells nobody more.
const LONGEST_MESSAGE: usize = 200;

/// Why a call brought nothing. What it shows has no secrets in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The service said no.
    #[error("{code}: {message} (HTTP {status})")]
    Refused {
        status: u16,
        code: String,
        message: String,
    },
    /// There was no answer.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// Nobody gives us credentials.
    #[error("no credentials: {0}")]
    NoCredentials(String),
    /// It is not known where to call.
    #[error("no region: set AWS_REGION")]
    NoRegion,
    /// The answer is not what it should be.
    #[error("an answer without {0}")]
    Unclear(&'static str),
    /// The request could not be made.
    #[error("the request cannot be made: {0}")]
    Unsound(String),
}

impl Fault {
    /// A refusal, out of an answer in XML or JSON, or of a proxy's page.
    pub(super) fn refused(status: u16, body: &[u8]) -> Fault {
        let (code, message) = of_xml(body)
            .or_else(|| of_json(body))
            .unwrap_or_else(|| (format!("HTTP {status}"), String::new()));
        // A refused signature is followed by what should have been signed: the session token too.
        let line = message.lines().next().unwrap_or_default();
        Fault::Refused {
            status,
            code,
            message: line.chars().take(LONGEST_MESSAGE).collect(),
        }
    }

    fn code(&self) -> &str {
        match self {
            Fault::Refused { code, .. } => code,
            _ => "",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Fault::Refused { status, .. } => *status,
            _ => 0,
        }
    }

    /// One word for the metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Fault::Failed(failed) => failed.label(),
            Fault::NoCredentials(_) => "no_credentials",
            Fault::NoRegion => "no_region",
            Fault::Unclear(_) => "unclear",
            Fault::Unsound(_) => "unsound",
            Fault::Refused { .. } if self.is_throttled() => "throttled",
            Fault::Refused { .. } if self.is_expired() => "expired",
            Fault::Refused { .. } if self.may_be_the_clock() => "clock",
            Fault::Refused { status: 500.., .. } => "server",
            Fault::Refused { status: 403, .. } => "denied",
            Fault::Refused { .. } => "refused",
        }
    }

    /// Whether too many calls were made, by us or by anybody else in the account.
    pub(super) fn is_throttled(&self) -> bool {
        const CODES: [&str; 8] = [
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "SlowDown",
        ];
        self.status() == 429 || CODES.contains(&self.code())
    }

    /// Whether the credentials are not good any more.
    pub(super) fn is_expired(&self) -> bool {
        const CODES: [&str; 6] = [
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
            "InvalidToken",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
        ];
        CODES.contains(&self.code())
    }

    /// Whether our clock may be what is wrong with the signature.
    pub(super) fn may_be_the_clock(&self) -> bool {
        const CODES: [&str; 5] = [
            "RequestTimeTooSkewed",
            "RequestExpired",
            "RequestInTheFuture",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
        ];
        CODES.contains(&self.code())
    }

    /// Whether the same call may well succeed a little later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Fault::Failed(Failed::Connect(..) | Failed::Timeout(_) | Failed::Broken(_)) => true,
            Fault::Refused { status, .. } => *status >= 500 || self.is_throttled(),
            _ => false,
        }
    }

    /// Whether the lifecycle action that was meant is over, which is as good as completed.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Fault::Refused { code, message, .. } => {
                code == "ValidationError" && message.contains("No active Lifecycle Action")
            }
            _ => false,
        }
    }
}

fn of_xml(body: &[u8]) -> Option<(String, String)> {
    let answer = Element::parse(body)?;
    let error = answer.find("Error").unwrap_or(&answer);
    let message = error.text_of("Message").unwrap_or_default();
    Some((error.text_of("Code")?.to_owned(), message.to_owned()))
}

fn of_json(body: &[u8]) -> Option<(String, String)> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    // `com.amazonaws.sqs#QueueDoesNotExist`, and of old with a URL behind a colon.
    let kind = answer.get("__type")?.as_str()?;
    let code = kind.rsplit('#').next()?.split(':').next()?;
    let message = answer.get("message").or_else(|| answer.get("Message"));
    let message = message.and_then(|message| message.as_str());
    Some((code.to_owned(), message.unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(status: u16, code: &str, message: &str) -> Fault {
        let body = format!(
            "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        Fault::refused(status, body.as_bytes())
    }

    #[test]
    fn each_refusal_has_its_word() {
        for (status, code, label, may_pass) in [
            (400, "Throttling", "throttled", true),
            (429, "Odd", "throttled", true),
            (403, "ExpiredToken", "expired", false),
            (403, "InvalidClientTokenId", "expired", false),
            (403, "RequestTimeTooSkewed", "clock", false),
            (403, "AccessDenied", "denied", false),
            (503, "ServiceUnavailable", "server", true),
            (400, "ValidationError", "refused", false),
        ] {
            let fault = xml(status, code, "m");
            assert_eq!(
                (fault.label(), fault.may_pass()),
                (label, may_pass),
                "{code}"
            );
        }
        let page = Fault::refused(502, b"<html><body>Bad Gateway</html>");
        assert_eq!(page.to_string(), "HTTP 502:  (HTTP 502)");
        assert!(page.may_pass());
    }

    #[test]
    fn json_says_its_code_in_a_type() {
        let body = br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"gone"}"#;
        let fault = Fault::refused(400, body);
        assert_eq!(fault.to_string(), "QueueDoesNotExist: gone (HTTP 400)");
    }

    #[test]
    fn an_action_that_is_over_is_known_by_its_words() {
        let over = "No active Lifecycle Action found with instance ID i-1";
        assert!(xml(400, "ValidationError", over).is_over());
        assert!(!xml(400, "ValidationError", "no such group").is_over());
    }

    #[test]
    fn what_should_have_been_signed_is_not_shown() {
        let fault = xml(
            403,
            "SignatureDoesNotMatch",
            "It differs.\n\nx-amz-security-token:SECRET",
        );
        assert!(!fault.to_string().contains("SECRET"), "{fault}");
    }
}
