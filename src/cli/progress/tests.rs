use super::*;
use crate::admin::control::HoldView;

pub(super) fn status(phase: &str, websockets: u64, tcp: u64) -> Status {
    let kinds = BTreeMap::from([("websocket".into(), websockets), ("tcp".into(), tcp)]);
    Status {
        phase: phase.into(),
        since: 1000.0,
        trigger: Some("api".into()),
        reason: Some("scale-in".into()),
        started: Some(1000.0),
        window: Some(30.0),
        deadline: Some(1028.0),
        remaining: Some(20.0),
        parts: Vec::new(),
        open: websockets + tcp,
        sessions: BTreeMap::from([("chat".into(), kinds)]),
        connections: websockets + tcp + 1,
        holds_open: 0,
        holds: Vec::new(),
        next_window: 30.0,
        window_source: "configured".into(),
        windows: BTreeMap::new(),
        platforms: BTreeMap::new(),
        exit_code: None,
        version: "0".into(),
    }
}

#[test]
fn the_screen_shows_who_is_left_and_for_how_long() {
    let start = Instant::now();
    let mut progress = Progress::new(status("lame_duck", 60, 0), None, start);
    let now = start + Duration::from_secs(2);
    let mut later = status("closing", 20, 0);
    later.holds_open = 1;
    later.holds = vec![HoldView {
        id: "h1".into(),
        reason: "indexing".into(),
        taken: 0.0,
        expires: 0.0,
    }];
    progress.update(later, now);
    assert_eq!(
        progress.screen(now + Duration::from_millis(500)),
        [
            "closing, 20s left of 30s, by api: scale-in",
            "  websocket  [##########....................] 20 of 60 open",
            "  20 sessions open, 16 leaving a second; 21 connections",
            "  hold h1: indexing",
        ]
    );
    assert_eq!(
        progress.line(now + Duration::from_millis(500)),
        "closing: 20s left, 20 sessions open (websocket 20), 16 leaving a second, 1 hold"
    );
}

#[test]
fn the_rate_is_of_the_last_seconds() {
    let start = Instant::now();
    let mut progress = Progress::new(status("closing", 100, 0), None, start);
    progress.update(status("closing", 50, 0), start + Duration::from_secs(1));
    let now = start + Duration::from_secs(60);
    progress.forget(now);
    assert_eq!(progress.rate(now), 0.0);
}

#[test]
fn no_line_wraps() {
    let mut wide = status("closing", 1, 1);
    wide.reason = Some("because ".repeat(30));
    let now = Instant::now();
    let lines = Progress::new(wide, None, now).screen(now);
    assert!(
        lines.iter().all(|line| line.chars().count() <= WIDTH),
        "{lines:?}"
    );
}
