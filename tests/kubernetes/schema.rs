//! Holds objects against what Kubernetes publishes of them.

#![allow(clippy::panic, reason = "a test fails by its panic")]

use std::sync::OnceLock;

use serde_json::{Map, Value};

fn all() -> &'static Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| serde_json::from_str(include_str!("schema.json")).expect("JSON"))
}

/// What is wrong with a value that should be of this kind, one line for each fault.
pub(crate) fn faults(kind: &str, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let schema = &all()["$defs"][kind];
    assert!(schema.is_object(), "there is no {kind} in the schema");
    check(schema, value, kind, &mut faults);
    faults
}

fn check(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        return check(&all()["$defs"][name], value, at, faults);
    }
    let mut fault = |what: String| faults.push(format!("{at}: {what}"));
    if !is_of(&schema["type"], value) {
        return fault(format!("{value} is not of type {}", schema["type"]));
    }
    let words = schema["enum"].as_array();
    if words.is_some_and(|words| !words.contains(value)) {
        fault(format!("{value} is none of {}", schema["enum"]));
    }
    if let (Some(format), false) = (schema["format"].as_str(), value.is_null()) {
        let sound = match format {
            "int32" => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            "int64" => value.is_i64(),
            "date-time" => value
                .as_str()
                .is_some_and(|text| humantime::parse_rfc3339(text).is_ok()),
            other => panic!("{other} is not a format that is known here"),
        };
        if !sound {
            fault(format!("{value} is no {format}"));
        }
    }
    match value {
        Value::Object(fields) => check_fields(schema, fields, at, faults),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{at}[{index}]"), faults);
            }
        }
        _ => {}
    }
}

fn check_fields(schema: &Value, fields: &Map<String, Value>, at: &str, faults: &mut Vec<String>) {
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().expect("a name");
        if !fields.contains_key(name) {
            faults.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, field) in fields {
        let below = format!("{at}.{name}");
        match (
            schema["properties"].get(name),
            &schema["additionalProperties"],
        ) {
            (Some(schema), _) => check(schema, field, &below, faults),
            (None, Value::Bool(false)) => faults.push(format!("{below}: there is no such field")),
            (None, Value::Null | Value::Bool(true)) => {}
            (None, schema) => check(schema, field, &below, faults),
        }
    }
}

/// Whether the value has the type, or one of the types; without one, any will do.
fn is_of(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is not a type that is known here"),
    };
    match types {
        Value::Null => true,
        Value::Array(types) => types.iter().any(is),
        one => is(one),
    }
}

#[test]
fn faults_are_found() {
    let event = serde_json::json!({
        "metadata": {"name": "a", "labels": {"a": 1}},
        "firstTimestamp": "yesterday",
        "count": 5_000_000_000_u64,
        "kind": "Pod",
        "involvedObjekt": {},
    });
    let faults = faults("Event", &event);
    let mut at: Vec<_> = faults
        .iter()
        .filter_map(|fault| fault.split(':').next())
        .collect();
    at.sort_unstable();
    assert_eq!(
        at,
        [
            "Event",
            "Event.count",
            "Event.firstTimestamp",
            "Event.involvedObjekt",
            "Event.kind",
            "Event.metadata.labels.a"
        ],
        "{faults:?}"
    );
}
