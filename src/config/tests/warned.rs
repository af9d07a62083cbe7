//! What is legal but dangerous is told, and taken.

use super::{file, told, with};

#[test]
fn each_danger_has_its_warning() {
    let tcp = "[[listener]]\nname = \"b\"\nbind = \"0.0.0.0:1\"\nprotocol = \"tcp\"\n\
               upstream = \"agent\"\n";
    for (tables, warning) in [
        (
            "[drain]\nwindow = \"2h\"\n".to_owned(),
            "x.toml:9:10: warning: drain.window: no target group waits as long as 7200s: the \
             platform cuts first",
        ),
        (
            "[drain]\nwindow = \"9s\"\nmargin = \"0s\"\n".to_owned(),
            "x.toml:9:10: warning: drain.window: 9s is short: balancers take some seconds to look \
             away",
        ),
        (
            "[drain]\nlame_duck_max = \"90%\"\n".to_owned(),
            "x.toml:9:17: warning: drain.lame_duck_max: lame_duck_max, finish and margin leave 28s \
             of 300s to close sessions in",
        ),
        (
            "[drain]\nfinish = \"200s\"\n".to_owned(),
            "x.toml:9:10: warning: drain.finish: lame_duck_max, finish and margin leave 0s of 300s \
             to close sessions in",
        ),
        (
            "[http]\nidle_timeout = \"60s\"\n".to_owned(),
            "x.toml:9:16: warning: http.idle_timeout: 60s is not longer than an ALB keeps a \
             connection (60s): its clients will see 502",
        ),
        (
            "[upstream.spare]\nendpoints = [\"b:1\"]\n".to_owned(),
            "x.toml:8:1: warning: upstream.spare: no listener uses this upstream",
        ),
        (
            format!("{tcp}websocket_close_code = 1001\n"),
            "x.toml:13:24: warning: listener[1].websocket_close_code: means nothing on a tcp \
             listener",
        ),
        (
            "[drain]\nforward_to = \"10.0.0.7:8080\"\n".to_owned(),
            "x.toml:9:14: warning: drain.forward_to: means nothing unless late arrivals are \
             forwarded",
        ),
        (
            format!("{tcp}websocket_announce = \"bye\"\n"),
            "x.toml:13:22: warning: listener[1].websocket_announce: means nothing on a tcp \
             listener",
        ),
        (
            "[platform.aws]\ndescribe_poll = \"5s\"\n".to_owned(),
            "x.toml:9:17: warning: platform.aws.describe_poll: 5s is often: these calls are throttled \
             for the whole account",
        ),
        (
            format!("{tcp}[listener.http]\n"),
            "x.toml:13:1: warning: listener[1].http: means nothing on a tcp listener",
        ),
    ] {
        let text = with(&tables);
        assert_eq!(told(&text), [warning]);
        assert!(file(&text).is_ok(), "{text}");
    }
}

#[test]
fn the_edges_are_quiet() {
    for tables in [
        "[drain]\nwindow = \"1h\"\n",
        "[drain]\nwindow = \"10s\"\n",
        "[drain]\nwindow = \"100s\"\nmargin = \"0s\"\nlame_duck_max = \"80%\"\n",
        "[http]\nidle_timeout = \"61s\"\n",
    ] {
        assert_eq!(told(&with(tables)), [""; 0], "{tables}");
    }
}
