//! The answers of the Query protocol.

use super::http::Answer;

/// An element with what is in it.
pub fn element(name: &str, inside: impl AsRef<str>) -> String {
    format!("<{name}>{}</{name}>", inside.as_ref())
}

/// Text elements, one after another.
pub fn elements(pairs: &[(&str, &str)]) -> String {
    let element = |(name, value): &(&str, &str)| element(name, value);
    pairs.iter().map(element).collect()
}

/// A list.
pub fn list(name: &str, members: impl IntoIterator<Item = String>) -> String {
    let members = members.into_iter().map(|inside| element("member", inside));
    element(name, members.collect::<String>())
}

/// The answer to a call that went well.
pub fn response(space: &str, action: &str, result: &str) -> Answer {
    let request = element("RequestId", REQUEST);
    Answer::xml(format!(
        "<{action}Response xmlns=\"{space}\">\n  <{action}Result>{result}</{action}Result>\n  \
         <ResponseMetadata>{request}</ResponseMetadata>\n</{action}Response>\n"
    ))
}

/// The answer to one that did not.
pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let inside = elements(&[("Type", "Sender"), ("Code", code), ("Message", message)]);
    let (error, request) = (element("Error", inside), element("RequestId", REQUEST));
    Answer {
        status,
        ..Answer::xml(element("ErrorResponse", error + &request))
    }
}

const REQUEST: &str = "7c6e177f-f082-11e1-ac58-3714bEXAMPLE";
