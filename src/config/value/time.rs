//! Durations, and shares of the window.

use std::time::Duration;

use toml::de::DeValue;

use super::{Show, Wrong, string};
use crate::config::keys::Default;
use crate::config::types::{Stretch, Window};

/// The longest duration taken: above it stands a slip of the pen (`5M` is five months), and
/// arithmetic with clocks has no need to be checked below it.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

const HELP: &str = "write a number and a unit, such as \"250ms\", \"30s\" or \"5m\"";

/// A duration, from the text of a flag.
pub(in crate::config) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    // humantime takes a bare 0; one rule for all numbers is easier to remember.
    if text.trim().parse::<f64>().is_ok() {
        let help = format!("write the unit too: \"{}s\"", text.trim());
        return Err(Wrong::new(format!("`{text}` has no unit"), help));
    }
    let duration = humantime::parse_duration(text)
        .map_err(|_| Wrong::new(format!("`{text}` is not a duration"), HELP))?;
    if duration > LONGEST {
        return Err(Wrong::new(
            format!("`{text}` is longer than 7 days"),
            "a minute is \"1m\", a month \"1M\"; write at most \"7days\"",
        ));
    }
    Ok(duration)
}

/// A duration that is not zero, from the text of a flag.
pub(in crate::config) fn parse_positive_duration(text: &str) -> Result<Duration, Wrong> {
    let duration = parse_duration(text)?;
    if duration.is_zero() {
        return Err(Wrong::new("must be longer than zero", HELP));
    }
    Ok(duration)
}

/// A duration; zero is one.
pub(in crate::config) fn duration(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    parse_duration(duration_text(value)?)
}

/// A duration that is not zero.
pub(in crate::config) fn positive_duration(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    parse_positive_duration(duration_text(value)?)
}

/// What holds with `auto` as long as nothing is known: the delay of a target group that nobody has
/// changed.
const UNKNOWN: Duration = Duration::from_secs(300);

/// A window, from the text of a flag.
pub(in crate::config) fn parse_window(text: &str) -> Result<Window, Wrong> {
    if text == "auto" {
        return Ok(Window {
            length: UNKNOWN,
            auto: true,
        });
    }
    parse_positive_duration(text).map(Window::of)
}

/// A window: `auto`, or a duration that is not zero.
pub(in crate::config) fn window(value: &DeValue<'_>) -> Result<Window, Wrong> {
    parse_window(duration_text(value)?)
}

/// The longest wait for a good moment; it ends with the window in any case.
pub(in crate::config) fn patience(value: &DeValue<'_>) -> Result<Option<Duration>, Wrong> {
    positive_duration(value).map(Some)
}

fn duration_text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    match value {
        DeValue::Integer(number) => Err(Wrong::new(
            format!("`{number}` has no unit"),
            format!("write the unit too, in quotes: \"{number}s\""),
        )),
        _ => string(value, "a duration", "a number and a unit, such as \"30s\""),
    }
}

/// A share such as `25%`, above zero, from the text of a flag; from 0.0 to 1.0.
pub(in crate::config) fn parse_share(text: &str) -> Result<f64, Wrong> {
    let percent = text.trim().strip_suffix('%').map(str::trim_end);
    let percent = percent.and_then(|number| number.parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(Wrong::new(
            format!("`{text}` is not a share"),
            "write a share above \"0%\" and up to \"100%\", such as \"25%\"",
        )),
    }
}

/// A duration, or a share of the window such as `50%`.
pub(in crate::config) fn stretch(value: &DeValue<'_>) -> Result<Stretch, Wrong> {
    const EXAMPLES: &str = "a share of the window such as \"50%\", or a duration such as \"30s\"";
    let text = match value {
        DeValue::Integer(_) => duration_text(value)?,
        _ => string(value, "a duration or a share", EXAMPLES)?,
    };
    let Some(number) = text.trim().strip_suffix('%') else {
        return parse_duration(text)
            .map(Stretch::Of)
            .map_err(|wrong| match wrong {
                Wrong { what, help } if help == HELP => {
                    Wrong::new(what, format!("write {EXAMPLES}"))
                }
                other => other,
            });
    };
    match number.trim_end().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Stretch::Share(percent / 100.0)),
        Ok(_) => Err(Wrong::new(
            format!("`{text}` is not a share of the window"),
            "write a share from \"0%\" to \"100%\"",
        )),
        Err(_) => Err(Wrong::new(
            format!("`{text}` is not a share"),
            format!("write {EXAMPLES}"),
        )),
    }
}

/// A duration as people write it: in seconds, or in milliseconds where it is no whole number.
pub(in crate::config) fn show_duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else if duration.subsec_nanos().is_multiple_of(1_000_000) {
        format!("{}ms", duration.as_millis())
    } else {
        humantime::format_duration(duration).to_string()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        format!("\"{}\"", show_duration(*self))
    }
}

impl Show for Option<Duration> {
    fn show(&self) -> String {
        self.map(|length| length.show()).unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("as long as the window allows"),
        }
    }
}

impl Show for Window {
    fn show(&self) -> String {
        if self.auto {
            "\"auto\"".to_owned()
        } else {
            self.length.show()
        }
    }
}

impl Show for Stretch {
    fn show(&self) -> String {
        match self {
            Stretch::Of(length) => length.show(),
            Stretch::Share(share) => format!("\"{}%\"", share * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("\"250ms\"", 250),
            ("\"30s\"", 30_000),
            ("\"5m\"", 300_000),
            ("\"1m 15s\"", 75_000),
            ("\"0s\"", 0),
            ("\"7days\"", 604_800_000),
        ] {
            assert_eq!(
                taken(text, duration),
                Duration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_that_is_none_is_told_what_to_write() {
        for (text, what, help) in [
            ("\"300\"", "`300` has no unit", "\"300s\""),
            ("\"0\"", "`0` has no unit", "\"0s\""),
            ("300", "`300` has no unit", "\"300s\""),
            (
                "true",
                "expected a duration in quotes, found a boolean",
                "\"30s\"",
            ),
            ("\"5 parsecs\"", "`5 parsecs` is not a duration", "\"5m\""),
            ("\"-3s\"", "`-3s` is not a duration", "\"30s\""),
            ("\"\"", "`` is not a duration", "\"30s\""),
            ("\"5M\"", "`5M` is longer than 7 days", "\"1m\""),
            ("\"99999999999999999999s\"", "is not a duration", "\"30s\""),
        ] {
            refused(text, duration, what, help);
        }
        refused(
            "\"0s\"",
            positive_duration,
            "must be longer than zero",
            "\"30s\"",
        );
    }

    #[test]
    fn a_stretch_is_a_share_or_a_duration() {
        assert_eq!(taken("\"50%\"", stretch), Stretch::Share(0.5));
        assert_eq!(taken("\"0%\"", stretch), Stretch::Share(0.0));
        assert_eq!(taken("\"12.5 %\"", stretch), Stretch::Share(0.125));
        assert_eq!(
            taken("\"90s\"", stretch),
            Stretch::Of(Duration::from_secs(90))
        );
        refused(
            "\"101%\"",
            stretch,
            "`101%` is not a share of the window",
            "\"100%\"",
        );
        refused(
            "\"-1%\"",
            stretch,
            "`-1%` is not a share of the window",
            "\"0%\"",
        );
        refused(
            "\"NaN%\"",
            stretch,
            "`NaN%` is not a share of the window",
            "\"0%\"",
        );
        refused("\"half\"", stretch, "`half` is not a duration", "\"50%\"");
        refused("\"x%\"", stretch, "`x%` is not a share", "\"50%\"");
        refused("50", stretch, "`50` has no unit", "\"50s\"");
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for millis in [0, 1, 250, 1_000, 1_500, 75_000, 300_000] {
            let length = Duration::from_millis(millis);
            assert_eq!(taken(&length.show(), duration), length);
        }
        let share = Stretch::Share(0.5);
        assert_eq!(taken(&share.show(), stretch), share);
    }
}
