//! The report of a drain as people read it.

use crate::cli::client::Report;
use crate::cli::words::{counted, printable, table, tenths};

/// Cut sessions that have a line of their own.
const CUT_SHOWN: usize = 10;

/// The report, line by line.
pub(crate) fn report_table(report: &Report) -> Vec<String> {
    let took = report.ended - report.started;
    let mut lines = vec![format!(
        "{}drained in {} of {}, by {}{}",
        match &report.part {
            Some(part) => format!("{} ", printable(part)),
            None => String::new(),
        },
        tenths(took),
        tenths(report.window),
        printable(&report.trigger),
        match &report.reason {
            Some(reason) => format!(": {}", printable(reason)),
            None => String::new(),
        }
    )];
    lines.push(String::new());
    lines.extend(kinds(report).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    let phases = report
        .phases
        .iter()
        .filter(|phase| phase.phase != "drained");
    let phases = phases.map(|phase| format!("{} {}", phase.phase, tenths(phase.length)));
    lines.push(format!(
        "  phases: {}",
        phases.collect::<Vec<_>>().join(", ")
    ));
    lines.push(format!(
        "  new sessions: {} served while lame duck, {} refused after",
        report.served_while_lame_duck, report.refused
    ));
    let undelivered = report
        .undelivered_bytes
        .iter()
        .filter(|(_, bytes)| **bytes > 0);
    let undelivered: Vec<_> = undelivered
        .map(|(way, bytes)| format!("{} {way}", counted(*bytes, "byte")))
        .collect();
    lines.push(format!(
        "  undelivered: {}",
        if undelivered.is_empty() {
            "nothing".to_owned()
        } else {
            undelivered.join(", ")
        }
    ));
    for cut in report.cut_sessions.iter().take(CUT_SHOWN) {
        lines.push(format!(
            "  cut: {} {} of {}, open for {}: {}",
            cut.kind,
            cut.id,
            printable(&cut.client),
            tenths(cut.age),
            printable(&cut.why)
        ));
    }
    let shown = report.cut_sessions.len().min(CUT_SHOWN) as u64;
    if report.cut > shown && shown > 0 {
        lines.push(format!("  cut: {} more", report.cut - shown));
    }
    lines
}

/// Kinds by outcomes, without those of which there was nothing.
fn kinds(report: &Report) -> Vec<String> {
    const OUTCOMES: [&str; 5] = ["finished", "migrated", "closed", "cut", "failed"];
    let of = |kind: &str, outcome: &str| {
        let kind = report.kinds.get(kind);
        kind.and_then(|kind| kind.outcomes.get(outcome))
            .copied()
            .unwrap_or_default()
    };
    let kinds: Vec<_> = report
        .kinds
        .iter()
        .filter(|(_, kind)| kind.at_start > 0 || kind.outcomes.values().any(|count| *count > 0))
        .map(|(name, kind)| (name.as_str(), kind.at_start))
        .collect();
    if kinds.is_empty() {
        return vec!["there were no sessions".to_owned()];
    }
    // `migrated` is told only where there was one.
    let outcomes = OUTCOMES.iter().filter(|outcome| {
        **outcome != "migrated" || kinds.iter().any(|(kind, _)| of(kind, outcome) > 0)
    });
    let outcomes: Vec<_> = outcomes.copied().collect();
    let title = ["kind", "at start"]
        .into_iter()
        .chain(outcomes.iter().copied());
    let mut rows = vec![title.map(str::to_owned).collect::<Vec<_>>()];
    for (name, at_start) in kinds {
        let counts = outcomes.iter().map(|outcome| of(name, outcome).to_string());
        rows.push(
            [name.to_owned(), at_start.to_string()]
                .into_iter()
                .chain(counts)
                .collect(),
        );
    }
    table(&rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_kind_that_was_there_and_what_was_cut() {
        let report: Report = serde_json::from_str(
            r#"{"trigger":"api","reason":"scale-in","started":100.0,"ended":121.4,"window":30.0,
            "phases":[{"phase":"lame_duck","start":0,"length":3.0},
                {"phase":"closing","start":3.0,"length":18.4},
                {"phase":"drained","start":21.4,"length":0.0}],
            "kinds":{"grpc":{"at_start":0,"outcomes":{}},
                "tcp":{"at_start":2,"outcomes":{"finished":1,"cut":1}},
                "websocket":{"at_start":570,"outcomes":{"closed":570}}},
            "served_while_lame_duck":4,"refused":1,
            "undelivered_bytes":{"to_client":1,"to_upstream":0},
            "cut":1,"cut_sessions":[{"id":"00ab","kind":"tcp","client":"10.0.0.7:5123","age":90.0,"why":"it kept sending"}],
            "exit_code":3}"#,
        )
        .unwrap();
        assert_eq!(
            report_table(&report).join("\n"),
            "drained in 21.4s of 30.0s, by api: scale-in\n\
             \n  kind       at start  finished  closed  cut  failed\
             \n  tcp               2         1       0    1       0\
             \n  websocket       570         0     570    0       0\n\
             \n  phases: lame_duck 3.0s, closing 18.4s\
             \n  new sessions: 4 served while lame duck, 1 refused after\
             \n  undelivered: 1 byte to_client\
             \n  cut: tcp 00ab of 10.0.0.7:5123, open for 1m30s: it kept sending"
        );
    }
}
