//! Numbers and texts as people read them.

use std::time::Duration;

/// A text of somebody else's, without what could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A length of time: `18s`, `4m05s`, `2h10m`.
pub(super) fn length(seconds: f64) -> String {
    // Rounded up, so that nothing is shown as over that is not.
    let length = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let whole = length.as_secs() + u64::from(length.subsec_nanos() > 0);
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// A length of time with its tenths: `18.4s`.
pub(super) fn tenths(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else {
        length(seconds)
    }
}

/// `1 hold`, `2 holds`.
pub(super) fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// At most so many characters, with an ellipsis if there were more.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Rows as columns: the first to the left, the others to the right, two blanks between.
pub(super) fn table(rows: &[Vec<String>], left: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            if column < left {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_and_never_too_short() {
        for (seconds, text) in [
            (0.0, "0s"),
            (-1.0, "0s"),
            (0.2, "1s"),
            (18.0, "18s"),
            (245.0, "4m05s"),
            (7800.0, "2h10m"),
            (f64::NAN, "0s"),
        ] {
            assert_eq!(length(seconds), text, "{seconds}");
        }
        assert_eq!(
            (tenths(3.06), tenths(61.0)),
            ("3.1s".into(), "1m01s".into())
        );
    }

    #[test]
    fn nothing_of_somebody_elses_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(shortened("scale-in", 6), "scale…");
        assert_eq!(shortened("scale", 6), "scale");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["kind", "cut", "x"]), row(["tcp", "12345", ""])];
        assert_eq!(table(&rows, 1), ["kind    cut  x", "tcp   12345"]);
    }
}
