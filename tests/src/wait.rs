//! Waiting for an event, with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` gives a value that `is_right`; panics with the last one seen.
pub async fn wait_until<T: Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> T,
    is_right: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let seen = look().await;
        if is_right(&seen) {
            return seen;
        }
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}; last seen: {seen:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same for conditions that need no runtime.
pub fn wait_blocking(what: &str, deadline: Duration, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}
