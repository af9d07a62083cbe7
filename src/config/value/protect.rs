//! When a platform is asked to spare this instance, and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::{Show, Wrong, positive_duration, string};
use crate::config::types::ProtectWhen;

const EXAMPLES: &str = "\"off\", or \"open > N\" with a whole number of sessions";

/// When a platform is asked to spare this instance: `off`, or `open > N`.
pub(in crate::config) fn protect_when(value: &DeValue<'_>) -> Result<ProtectWhen, Wrong> {
    let text = string(value, "a condition", EXAMPLES)?;
    if text.trim() == "off" {
        return Ok(ProtectWhen::Off);
    }
    let rest = text.trim().strip_prefix("open").map(str::trim_start);
    let number = rest.and_then(|rest| rest.strip_prefix('>')).map(str::trim);
    number
        // A sign is not one of the digits of a count.
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|number| number.parse().ok())
        .map(ProtectWhen::OpenAbove)
        .ok_or_else(|| {
            Wrong::new(
                format!("`{text}` is not a condition"),
                format!("write {EXAMPLES}, such as \"open > 0\""),
            )
        })
}

/// What the agent of ECS takes, in minutes.
const MINUTES: RangeInclusive<u64> = 1..=2880;

/// For how long a task is protected before it has to be said again.
pub(in crate::config) fn protect_for(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let length = positive_duration(value)?;
    let minutes = length.as_secs() / 60;
    if Duration::from_secs(minutes * 60) == length && MINUTES.contains(&minutes) {
        return Ok(length);
    }
    Err(Wrong::new(
        format!(
            "{} is no whole number of minutes from 1 to 2880",
            length.show()
        ),
        "write \"1m\" to \"2880m\", such as \"60m\"",
    ))
}

impl Show for ProtectWhen {
    fn show(&self) -> String {
        match self {
            ProtectWhen::Off => "\"off\"".to_owned(),
            ProtectWhen::OpenAbove(number) => format!("\"open > {number}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn a_condition_is_off_or_a_number_of_sessions() {
        for (text, meant) in [
            ("\"off\"", ProtectWhen::Off),
            ("\"open > 0\"", ProtectWhen::OpenAbove(0)),
            ("\"open>12\"", ProtectWhen::OpenAbove(12)),
            ("\" open  >  500 \"", ProtectWhen::OpenAbove(500)),
        ] {
            let found = taken(text, protect_when);
            assert_eq!(found, meant, "{text}");
            assert_eq!(taken(&found.show(), protect_when), meant, "{text}");
        }
    }

    #[test]
    fn another_condition_is_told_what_to_write() {
        for text in [
            "\"\"",
            "\"on\"",
            "\"open\"",
            "\"open >\"",
            "\"open > -1\"",
            "\"open > +1\"",
            "\"open >= 1\"",
            "\"open < 1\"",
            "\"open > many\"",
            "\"open > 99999999999999999999\"",
            "\"holds > 1\"",
        ] {
            refused(text, protect_when, "is not a condition", "\"open > 0\"");
        }
        refused(
            "true",
            protect_when,
            "expected a condition in quotes, found a boolean",
            "\"off\"",
        );
    }

    #[test]
    fn a_task_is_protected_for_whole_minutes() {
        for minutes in [1, 60, 2880] {
            let length = Duration::from_secs(minutes * 60);
            assert_eq!(taken(&format!("\"{minutes}m\""), protect_for), length);
        }
        for text in ["\"59s\"", "\"90s\"", "\"2881m\"", "\"1500ms\""] {
            refused(text, protect_for, "whole number of minutes", "\"60m\"");
        }
    }

    #[test]
    fn a_hold_counts_whatever_the_number() {
        let above = ProtectWhen::OpenAbove(2);
        assert!(!above.holds_for(2, 0));
        assert!(above.holds_for(3, 0));
        assert!(above.holds_for(0, 1));
        assert!(!ProtectWhen::Off.holds_for(9, 9));
    }
}
