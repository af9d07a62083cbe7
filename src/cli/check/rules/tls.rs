//! The files that `tls` tables name: whether they can be read, fit together, and still hold.

use std::time::{Duration, SystemTime};

use super::{cut, risky};
use crate::config::{Config, Finding};
use crate::net::tls::{self, TlsListener};

/// Whoever renews has done so by now.
const SOON: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What is found in the files.
pub(in crate::cli::check) fn findings(config: &Config, now: SystemTime) -> Vec<Finding> {
    let mut found = Vec::new();
    for listener in &config.listeners {
        let Some(settings) = &listener.tls else {
            continue;
        };
        let table = format!("listener {}: tls", listener.name);
        match TlsListener::new(settings, listener.protocol) {
            Ok(tls) => {
                for expiry in tls.certificates().expiries() {
                    found.extend(expires(&table, &expiry, now));
                }
            }
            Err(faults) => found.extend(faults.into_iter().map(|fault| of_file(&table, fault))),
        }
    }
    for upstream in &config.upstreams {
        let table = format!("upstream {}: tls", upstream.name);
        let made = upstream.tls.as_ref().map(tls::Tls::of);
        let faults = made.and_then(Result::err).unwrap_or_default();
        found.extend(faults.into_iter().map(|fault| of_file(&table, fault)));
    }
    found
}

fn of_file(table: &str, fault: tls::Fault) -> Finding {
    cut(format!("{table}.{}", fault.key), fault.what, fault.help)
}

fn expires(table: &str, expiry: &tls::Expiry, now: SystemTime) -> Option<Finding> {
    let name = &expiry.name;
    let what = match expiry.not_after.duration_since(now) {
        Err(since) => {
            let ago = days(since.duration());
            format!("the certificate `{name}` has expired {ago} ago")
        }
        Ok(left) if left < SOON => {
            format!("the certificate `{name}` expires in {}", days(left))
        }
        Ok(_) => return None,
    };
    let help = "renew it: a new one is taken up without a restart";
    Some(risky(table, what, help))
}

fn days(length: Duration) -> String {
    match length.as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
