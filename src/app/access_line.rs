//! A line of the access log.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::LogFormat;
use crate::session::Record;

/// Appends the line of a session.
pub(super) fn write(out: &mut String, record: &Record, listener: &str, format: LogFormat) {
    // Writing to a string cannot fail.
    let _ = match format {
        LogFormat::Json => writeln!(out, "{}", json_of(record, listener)),
        LogFormat::Text => text_of(out, record, listener),
    };
}

fn json_of(record: &Record, listener: &str) -> Value {
    let [to_upstream, to_client] = record.bytes;
    let [said, heard] = record.messages;
    let mut line = json!({
        "time": humantime::format_rfc3339_millis(record.ended).to_string(),
        "id": record.id.map(|id| id.to_string()),
        "listener": listener,
        "kind": record.kind.label(),
        "outcome": record.outcome.label(),
        "client": record.client.map(|client| client.to_string()),
        "client_key": record.key.as_deref(),
        "upstream": record.upstream.as_deref(),
        "seconds": record.duration.as_secs_f64(),
        "bytes": { "to_upstream": to_upstream, "to_client": to_client },
        "messages": { "to_upstream": said, "to_client": heard },
        "asked": record.asked,
        "close_code": record.close_code,
    });
    if let (Some(request), Value::Object(line)) = (&record.request, &mut line) {
        line.insert("method".to_owned(), json!(&*request.method));
        line.insert("path".to_owned(), json!(&*request.path));
        line.insert("status".to_owned(), json!(request.status));
    }
    line
}

fn text_of(out: &mut String, record: &Record, listener: &str) -> std::fmt::Result {
    write!(
        out,
        "{} {} {listener} {} {} client=",
        humantime::format_rfc3339_millis(record.ended),
        shown(record.id),
        record.kind.label(),
        record.outcome.label(),
    )?;
    let [to_upstream, to_client] = record.bytes;
    let [said, heard] = record.messages;
    write!(
        out,
        "{} key={} upstream={} seconds={:.3} bytes={to_upstream}/{to_client} \
         messages={said}/{heard} asked={} code={}",
        shown(record.client),
        // The client chooses it: quoted and escaped.
        shown(record.key.as_deref().map(|key| format!("{key:?}"))),
        shown(record.upstream.as_deref()),
        record.duration.as_secs_f64(),
        record.asked,
        shown(record.close_code),
    )?;
    if let Some(request) = &record.request {
        let (method, path) = (&request.method, &request.path);
        write!(out, " {method} {path:?} {}", shown(request.status))?;
    }
    writeln!(out)
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
