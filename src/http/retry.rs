//! When a client of an event stream should come back: the last `retry:` it hears from us.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;

/// The `retry:` of one client, from a fifth of the longest delay to all of it; nothing, where that
/// is zero and clients keep their own. The same number for all would be a storm later.
pub(super) fn retry(longest: Duration) -> Option<Bytes> {
    let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    if longest == 0 {
        return None;
    }
    let shortest = longest / 5;
    let delay = shortest + some_number() % (longest - shortest + 1);
    Some(Bytes::from(format!("retry: {delay}\n\n")))
}

/// A number that differs from call to call; enough to spread clients by, and no secret.
pub(super) fn some_number() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn delays_differ_and_stay_in_their_bounds() {
        let longest = Duration::from_secs(5);
        let delays: BTreeSet<u64> = (0..500)
            .map(|_| {
                let line = retry(longest).unwrap();
                let text = std::str::from_utf8(&line).unwrap();
                let delay = text.strip_prefix("retry: ").unwrap();
                delay.strip_suffix("\n\n").unwrap().parse().unwrap()
            })
            .collect();
        assert!(delays.len() > 300, "{}", delays.len());
        let (first, last) = (delays.first().unwrap(), delays.last().unwrap());
        assert!((1000..1500).contains(first) && (4500..=5000).contains(last));
        assert_eq!(retry(Duration::ZERO), None);
        assert_eq!(
            retry(Duration::from_millis(1)).unwrap().len(),
            "retry: 1\n\n".len()
        );
    }
}
