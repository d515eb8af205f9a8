//! Delays between attempts to reach an unavailable server: exponential, with full jitter.
//!
//! Invariant: no other module uses the crate `backoff`. It is archived (RUSTSEC-2025-0012,
//! informational; see deny.toml), so it must be replaceable in one place.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The delays of a series of attempts, without an end.
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Each delay is random between zero and a bound; the bound doubles from `first` up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        // The crate draws from interval·(1 ± factor). With a factor of 1 and half the interval, this
        // is full jitter: from zero to the whole interval.
        let exponential = ExponentialBackoffBuilder::new()
            .with_initial_interval(first / 2)
            .with_max_interval(most / 2)
            .with_multiplier(2.0)
            .with_randomization_factor(1.0)
            .with_max_elapsed_time(None)
            .build();
        Self(exponential)
    }

    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Call after a success: the next delay is short again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_bound_and_are_short_again_after_a_success() {
        let first = Duration::from_millis(100);
        let most = Duration::from_secs(5);
        let mut backoff = Backoff::new(first, most);
        assert!(backoff.next_wait() <= first);
        let longest =
            (0..200).map(|_| backoff.next_wait()).max().expect("the range should not be empty");
        assert!(longest <= most && longest > most / 2, "{longest:?}");
        backoff.reset();
        assert!(backoff.next_wait() <= first);
    }
}
