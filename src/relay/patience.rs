//! How long a session may wait for its moment.

use std::time::Duration;

use super::traffic::Micros;

/// The least time before a session is told without a good moment, in microseconds, where the window
/// has so much.
const LEAST: u64 = 3_000_000;

/// When a session is told without a good moment. `from` is when it began to wait, `latest` the
/// moment from which on its close handshake would not fit any more.
///
/// Those that find no moment are spread, so that they do not all go at once: over the time behind
/// the first quarter, the first three seconds or, where there are less than that, two thirds.
pub(super) fn last_chance(
    from: Micros,
    latest: Micros,
    patience: Option<Duration>,
    turn: u32,
) -> Micros {
    let left = latest.since(from);
    let first = (left / 4).max(LEAST.min(left / 3 * 2));
    let at = from.0 + left - spread(turn, left - first);
    match patience {
        Some(patience) => Micros(at.min(from.0.saturating_add(micros(patience)))),
        None => Micros(at),
    }
}

/// A part of `length` that is another for each session, and evenly spread over all of them: by the
/// golden ratio.
pub(super) fn spread(turn: u32, length: u64) -> u64 {
    let part = u128::from(turn.wrapping_mul(0x9E37_79B9)) * u128::from(length);
    u64::try_from(part >> 32).unwrap_or(length)
}

/// A length of time in microseconds.
pub(super) fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn chances(left: u64, patience: Option<Duration>) -> Vec<u64> {
        let (from, latest) = (Micros(7 * SECOND), Micros(7 * SECOND + left));
        let all = 0..1_000;
        let chance = |turn| last_chance(from, latest, patience, turn).since(from);
        all.map(chance).collect()
    }

    #[test]
    fn nobody_is_forced_early_or_late() {
        for (left, least) in [
            (0, 0),
            (900_000, 600_000),
            (2 * SECOND, 1_300_000),
            (4 * SECOND, 2_600_000),
            (6 * SECOND, 3 * SECOND),
            (40 * SECOND, 10 * SECOND),
            (3_600 * SECOND, 900 * SECOND),
        ] {
            let chances = chances(left, None);
            assert!(chances.iter().min() >= Some(&least), "{left}");
            assert!(chances.iter().max() <= Some(&left), "{left}");
        }
    }

    #[test]
    fn those_that_are_asked_together_are_not_forced_together() {
        for (left, over) in [(2 * SECOND, 6), (6 * SECOND, 30), (40 * SECOND, 300)] {
            let chances = chances(left, None);
            let mut slices = vec![0; 401];
            for chance in chances {
                slices[usize::try_from(chance / 100_000).unwrap()] += 1;
            }
            let most = slices.iter().max().unwrap();
            assert!(*most <= 1_000 / over + 2, "{left}: {most} in 100 ms");
        }
    }

    #[test]
    fn those_that_are_asked_one_by_one_are_not_forced_together() {
        // The drain asks evenly over 85 % of the time, and nobody finds a moment.
        for (window, times) in [(8, 8), (25, 6), (55, 5)] {
            let latest = Micros(window * SECOND);
            let mut slices = vec![0; usize::try_from(window * 10).unwrap() + 1];
            for n in 0..10_000 {
                let asked = Micros(window * SECOND * 85 / 100 * n / 10_000);
                let turn = u32::try_from(n).unwrap();
                let at = last_chance(asked, latest, None, turn);
                slices[usize::try_from(at.0 / 100_000).unwrap()] += 1;
            }
            let (most, mean) = (slices.iter().max().unwrap(), 1_000 / window);
            assert!(
                *most <= mean * times,
                "{window}: {most} of a mean of {mean}"
            );
        }
    }

    #[test]
    fn patience_shortens_and_never_prolongs() {
        let short = chances(40 * SECOND, Some(Duration::from_millis(500)));
        assert!(short.iter().all(|chance| *chance == 500_000));
        let long = Some(Duration::from_secs(3_600));
        assert_eq!(chances(40 * SECOND, long), chances(40 * SECOND, None));
    }
}
