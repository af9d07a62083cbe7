//! The line that CloudWatch makes metrics of.

use rustix::process::Signal;

use crate::harness::{Proxy, QUICK};

#[test]
fn a_drain_ends_with_one_bare_line_of_metrics() {
    let log = "[log]\nemf = true\nemf_namespace = \"Chat/Proxies\"\n";
    let mut proxy = Proxy::start(&format!("{QUICK}{log}"));
    let session = proxy.session();
    proxy.signal(Signal::TERM);
    proxy.enters("closing");
    drop(session);
    let line = loop {
        let line = proxy.next_log();
        if line.get("_aws").is_some() {
            break line;
        }
    };
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "Chat/Proxies");
    for metric in directive["Metrics"].as_array().unwrap() {
        let name = metric["Name"].as_str().unwrap();
        assert!(line[name].is_number(), "{name}: {line}");
    }
    assert_eq!(
        (&line["Trigger"], &line["SessionsAtStart"]),
        (&"signal".into(), &1.into())
    );
    assert!(line["DrainSeconds"].as_f64().unwrap() < 20.0, "{line}");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn there_is_no_such_line_unless_it_is_wanted() {
    let mut proxy = Proxy::start(QUICK);
    proxy.signal(Signal::TERM);
    proxy.ended();
    for line in proxy.rest_of_log() {
        assert!(line.get("_aws").is_none(), "{line}");
    }
}
