//! How an upstream's sessions are spread, and what is known of its endpoints' health.

use std::time::Duration;

use super::{LEAST, file, told, with};
use crate::config::{Balance, CheckKind, HashOn};

#[test]
fn without_a_word_the_fewest_sessions_decide_and_nobody_is_asked_or_passed_over() {
    let upstream = &file(LEAST).expect("legal").config.upstreams[0];
    assert_eq!(upstream.balance, Balance::Least);
    assert_eq!((&upstream.check, &upstream.eject), (&None, &None));
    assert_eq!(upstream.slow_start, Duration::ZERO);
}

#[test]
fn an_empty_table_switches_its_defaults_on() {
    let text = with(
        "balance = \"hash\"\nhash_on = \"address\"\n[upstream.agent.check]\n\
         [upstream.agent.eject]\n",
    );
    let upstream = &file(&text).expect("legal").config.upstreams[0];
    assert_eq!(upstream.balance, Balance::Hash(HashOn::Address));
    let check = upstream.check.as_ref().expect("on");
    assert_eq!((check.kind, check.rise, check.fall), (CheckKind::Tcp, 2, 3));
    let eject = upstream.eject.as_ref().expect("on");
    assert_eq!((eject.after, eject.max_share), (5, 0.5));
}

#[test]
fn what_is_hashed_has_to_fit() {
    for (tables, told_as) in [
        (
            "balance = \"hash\"\n",
            "x.toml:8:11: error: upstream.agent.balance: `hash` needs to know what is hashed",
        ),
        (
            "hash_on = \"address\"\n",
            "x.toml:8:11: warning: upstream.agent.hash_on: means nothing without balance = \"hash\"",
        ),
        (
            "balance = \"least-conn\"\n",
            "x.toml:8:11: error: upstream.agent.balance: `least-conn` is not known here",
        ),
    ] {
        assert_eq!(told(&with(tables)), [told_as]);
    }
    let raw = LEAST.replace("\"http\"", "\"tcp\"");
    let by_header = raw + "balance = \"hash\"\nhash_on = \"header:x-user\"\n";
    assert_eq!(
        told(&by_header),
        [
            "x.toml:9:11: error: upstream.agent.hash_on: a tcp listener leads here, which sees no \
             headers"
        ]
    );
}
