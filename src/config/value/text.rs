//! Names and other text with a form of its own.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use toml::de::DeValue;

use super::{Show, Wrong, string};
use crate::config::announcement::Announcement;
use crate::config::keys::Default;
use crate::config::types::{ListenerName, UpstreamName};

/// Names become metric labels: long ones are paid for in every series.
const LONGEST_NAME: usize = 64;
/// The most bytes of a reason in a Close.
const LONGEST_REASON: usize = 123;

fn name(text: &str) -> Result<Arc<str>, Wrong> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(legal) {
        return Err(Wrong::new(
            format!("`{text}` is not a name"),
            format!("write 1 to {LONGEST_NAME} of the characters a-z, 0-9, _ and -"),
        ));
    }
    Ok(text.into())
}

/// The name of a listener.
pub(in crate::config) fn listener_name(value: &DeValue<'_>) -> Result<ListenerName, Wrong> {
    name(string(value, "a name", "such as \"chat\"")?).map(ListenerName)
}

/// The name of an upstream.
pub(in crate::config) fn upstream_name(value: &DeValue<'_>) -> Result<UpstreamName, Wrong> {
    name(string(
        value,
        "the name of an upstream",
        "such as \"agent\"",
    )?)
    .map(UpstreamName)
}

/// The pseudonym in `Via`: a token (RFC 9110, sections 5.6.2 and 7.6.3).
pub(in crate::config) fn via(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    let text = string(value, "a pseudonym", "such as \"lameduck\"")?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(token) {
        return Err(Wrong::new(
            format!("`{text}` cannot stand in a Via field"),
            "write letters, digits and dashes, such as \"lameduck\"",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// The path on which readiness is answered.
pub(in crate::config) fn health_path(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    let text = string(value, "a path", "such as \"/healthz\"")?;
    // A query or fragment would never match the path of a request.
    let legal = |c: char| c.is_ascii_graphic() && !"?#".contains(c);
    if !text.starts_with('/') || !text.chars().all(legal) {
        return Err(Wrong::new(
            format!("`{text}` is not a path"),
            "write it from its first slash and without a query, such as \"/healthz\"",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// The name of a header whose value names the client (RFC 9110, section 5.1).
pub(in crate::config) fn client_key(value: &DeValue<'_>) -> Result<Option<HeaderName>, Wrong> {
    let text = string(value, "the name of a header", "such as \"x-user-id\"")?;
    match HeaderName::try_from(text) {
        Ok(name) => Ok(Some(name)),
        Err(_) => Err(Wrong::new(
            format!("`{text}` is not the name of a header"),
            "write letters, digits and dashes, such as \"x-user-id\"",
        )),
    }
}

impl Show for Option<HeaderName> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|name| format!("{:?}", name.as_str()))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

/// The reason in a Close: control frames hold 125 bytes, and the code takes two (RFC 6455, section
/// 5.5).
pub(in crate::config) fn close_reason(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = string(value, "a text", "such as \"scaled in\"")?;
    if text.len() > LONGEST_REASON {
        return Err(Wrong::new(
            format!("the reason has {} bytes", text.len()),
            format!("write at most {LONGEST_REASON}: a Close holds no more"),
        ));
    }
    Ok(text.to_owned())
}

/// The message that tells a client to come back; an empty text is none.
pub(in crate::config) fn announcement(value: &DeValue<'_>) -> Result<Option<Announcement>, Wrong> {
    let text = string(value, "a text", r#"such as '{"reconnect_in_ms":{in_ms}}'"#)?;
    match text {
        "" => Ok(None),
        text => Announcement::parse(text).map(Some),
    }
}

impl Show for Option<Announcement> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|announcement| format!("{:?}", announcement.template()))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

impl Show for String {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// A file to be written.
pub(in crate::config) fn file(value: &DeValue<'_>) -> Result<Option<PathBuf>, Wrong> {
    let help = "such as \"/var/run/lameduck/drain.json\"";
    let text = string(value, "the path of a file", help)?;
    if text.is_empty() || text.ends_with('/') {
        return Err(Wrong::new(
            format!("`{text}` is not the path of a file"),
            format!("write one {help}"),
        ));
    }
    Ok(Some(PathBuf::from(text)))
}

impl Show for Option<PathBuf> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|path| format!("{path:?}"))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

impl Show for Option<String> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|text| format!("{text:?}"))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn names_suit_a_metric_label() {
        assert_eq!(taken("\"chat-2_b\"", listener_name).to_string(), "chat-2_b");
        for text in ["\"\"", "\"Chat\"", "\"a b\"", "\"a.b\"", "\"é\""] {
            refused(text, listener_name, "is not a name", "a-z, 0-9");
        }
        refused(
            &format!("\"{}\"", "a".repeat(65)),
            upstream_name,
            "is not a name",
            "1 to 64",
        );
    }

    #[test]
    fn a_via_is_a_token() {
        assert_eq!(taken("\"edge.1\"", via).as_deref(), Some("edge.1"));
        refused("\"a b\"", via, "`a b` cannot stand", "such as");
        refused("\"\"", via, "cannot stand", "such as");
    }

    #[test]
    fn a_client_key_is_the_name_of_a_header() {
        let name = taken("\"X-User-Id\"", client_key);
        assert_eq!(name.as_ref().map(HeaderName::as_str), Some("x-user-id"));
        for text in ["\"\"", "\"x user\"", "\"x-user:\"", "\"é\""] {
            refused(text, client_key, "is not the name of a header", "x-user-id");
        }
    }

    #[test]
    fn a_health_path_is_a_path() {
        assert_eq!(
            taken("\"/healthz\"", health_path).as_deref(),
            Some("/healthz")
        );
        for text in ["\"healthz\"", "\"/a?b\"", "\"/a b\"", "\"\""] {
            refused(text, health_path, "is not a path", "first slash");
        }
    }
}
