//! Waiting for an event, with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Interval between two checks of a condition.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Waits until `observe` returns a value that `is_right`; panics with the last value seen.
pub async fn wait_until<T: Debug>(
    event: &str,
    deadline: Duration,
    mut observe: impl AsyncFnMut() -> T,
    is_right: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let seen = observe().await;
        if is_right(&seen) {
            return seen;
        }
        assert!(
            began.elapsed() < deadline,
            "{event}: not within {deadline:?}; last seen: {seen:?}"
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// As [`wait_until`], without an async runtime.
pub fn wait_blocking(event: &str, deadline: Duration, mut is_met: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_met() {
        assert!(began.elapsed() < deadline, "{event}: not within {deadline:?}");
        std::thread::sleep(POLL_EVERY);
    }
}
