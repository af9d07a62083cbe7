//! The time as the cloud has it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Signatures are good for five minutes; below this the clock is not what is wrong with them.
const SLIGHT: i64 = 30;

/// Our clock, and how far it is off.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Seconds that the cloud is ahead.
    ahead: AtomicI64,
}

impl Clock {
    /// The time as the cloud has it.
    pub(super) fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let off = Duration::from_secs(ahead.unsigned_abs());
        let now = SystemTime::now();
        let corrected = if ahead < 0 {
            now.checked_sub(off)
        } else {
            now.checked_add(off)
        };
        corrected.unwrap_or(now)
    }

    /// How long it is until then; zero if it has passed.
    pub(super) fn until(&self, then: SystemTime) -> Duration {
        then.duration_since(self.now()).unwrap_or_default()
    }

    /// Goes by the `Date` of an answer; true if that makes a difference.
    pub(super) fn correct(&self, date: &str) -> bool {
        let Some(there) = http_date(date) else {
            return false;
        };
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(0)
        };
        let off = seconds(there) - seconds(self.now());
        if off.abs() < SLIGHT {
            return false;
        }
        tracing::warn!(
            seconds = -off,
            "the clock is off; calls are signed by the cloud's"
        );
        let ahead = seconds(there) - seconds(SystemTime::now());
        self.ahead.store(ahead, Ordering::Relaxed);
        true
    }
}

/// A date as answers have it: `Thu, 26 Nov 2026 12:45:33 GMT` (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split(' ').skip(1);
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (time, zone) = (words.next()?, words.next()?);
    let month = MONTHS.find(month).filter(|_| month.len() == 3)? / 3 + 1;
    let date = format!("{year}-{month:02}-{day}T{time}Z");
    humantime::parse_rfc3339(&date)
        .ok()
        .filter(|_| zone == "GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date, UNIX_EPOCH + Duration::from_secs(784_111_777));
        for text in [
            "",
            "now",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nox 1994 08:49:37 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn the_cloud_is_right_where_it_matters() {
        let clock = Clock::default();
        let then = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert!(clock.correct("Sun, 06 Nov 1994 08:49:37 GMT"));
        let off = clock.now().duration_since(then).unwrap();
        assert!(off < Duration::from_secs(5), "{off:?}");
        assert!(
            !clock.correct("Sun, 06 Nov 1994 08:49:39 GMT"),
            "near enough"
        );
        assert!(!clock.correct("tomorrow"));
    }
}
