//! Waits are for events and bounded; the bounds can be stretched on a slow machine.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

/// `limit`, stretched by the factor in `LAMEDUCK_TEST_PATIENCE`.
pub fn patience(limit: Duration) -> Duration {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    let factor = *FACTOR.get_or_init(|| {
        let Ok(text) = std::env::var("LAMEDUCK_TEST_PATIENCE") else {
            return 1.0;
        };
        text.parse()
            .expect("LAMEDUCK_TEST_PATIENCE is a factor, such as 3 or 0.5")
    });
    limit.mul_f64(factor)
}

/// The result of `event`, which must come within `limit` seconds (stretched by [`patience`]).
pub async fn within<F: Future>(limit: u64, what: &str, event: F) -> F::Output {
    let limit = patience(Duration::from_secs(limit));
    match tokio::time::timeout(limit, event).await {
        Ok(output) => output,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}
