//! CloudWatch's embedded metric format: a line of the log of which metrics are made.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::drain::Report;
use crate::session::Outcome;

/// The line for a drain that is over, without its end: one JSON document, as it must stand in the log.
pub fn line(namespace: &str, report: &Report) -> String {
    let outcome = |outcome: Outcome| -> u64 {
        let kinds = report.kinds.values();
        let counts = kinds.filter_map(|kind| kind.outcomes.get(outcome.label()));
        counts.sum()
    };
    let length = report.ended.duration_since(report.started);
    let length = length.unwrap_or_default().as_millis();
    let at_start: u64 = report.kinds.values().map(|kind| kind.at_start).sum();
    let undelivered: u64 = report.undelivered_bytes.values().sum();
    let metrics = [
        ("DrainSeconds", "Seconds", json!(seconds(length))),
        ("SessionsAtStart", "Count", json!(at_start)),
        ("SessionsClosed", "Count", json!(outcome(Outcome::Closed))),
        (
            "SessionsFinished",
            "Count",
            json!(outcome(Outcome::Finished)),
        ),
        ("SessionsCut", "Count", json!(report.cut)),
        ("UndeliveredBytes", "Bytes", json!(undelivered)),
    ];
    let ended = report.ended.duration_since(UNIX_EPOCH).unwrap_or_default();
    let definitions = metrics
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}));
    let mut line = json!({
        "_aws": {
            "Timestamp": u64::try_from(ended.as_millis()).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [["Trigger"]],
                "Metrics": definitions.collect::<Vec<_>>(),
            }],
        },
        "Trigger": report.trigger,
    });
    for (name, _, value) in metrics {
        line[name] = value;
    }
    line.to_string()
}

/// Milliseconds as seconds, without the noise of a division in binary.
fn seconds(millis: u128) -> Value {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::drain::{Going, KindReport};

    fn report() -> Report {
        let kind = |at_start, closed, finished| KindReport {
            at_start,
            outcomes: BTreeMap::from([("closed", closed), ("finished", finished), ("cut", 1)]),
        };
        let started = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Report {
            trigger: "signal",
            part: None,
            reason: None,
            signs: Vec::new(),
            started,
            ended: started + Duration::from_millis(12_345),
            window: Duration::from_secs(30),
            phases: Vec::new(),
            kinds: BTreeMap::from([("tcp", kind(3, 1, 1)), ("websocket", kind(7, 4, 2))]),
            served_while_lame_duck: 0,
            refused: 0,
            undelivered_bytes: BTreeMap::from([("to_client", 5), ("to_upstream", 2)]),
            going: Going::default(),
            cut: 2,
            cut_sessions: Vec::new(),
        }
    }

    #[test]
    fn every_metric_is_defined_and_has_its_value() {
        let line = line("Chat", &report());
        assert!(!line.contains('\n'));
        let line: Value = serde_json::from_str(&line).unwrap();
        let aws = &line["_aws"];
        assert_eq!(aws["Timestamp"], 1_700_000_012_345_u64);
        let directive = &aws["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Chat");
        assert_eq!(directive["Dimensions"], json!([["Trigger"]]));
        assert_eq!(line["Trigger"], "signal");
        let mut found = Vec::new();
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            found.push((
                name,
                metric["Unit"].as_str().unwrap(),
                line[name].to_string(),
            ));
        }
        let expected = [
            ("DrainSeconds", "Seconds", "12.345"),
            ("SessionsAtStart", "Count", "10"),
            ("SessionsClosed", "Count", "5"),
            ("SessionsFinished", "Count", "3"),
            ("SessionsCut", "Count", "2"),
            ("UndeliveredBytes", "Bytes", "7"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, unit, value)| (name, unit, value.to_owned()))
        );
    }

    #[test]
    fn a_clock_that_went_back_makes_no_negative_length() {
        let mut report = report();
        report.ended = SystemTime::UNIX_EPOCH;
        let line: Value = serde_json::from_str(&line("Chat", &report)).unwrap();
        assert_eq!(line["DrainSeconds"], 0.0);
    }
}
