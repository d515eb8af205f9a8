//! Waiting between attempts to reach something that is away: exponential, with full jitter.
//!
//! The only module that names the crate `backoff`: it is archived (RUSTSEC-2025-0012,
//! informational; see deny.toml), and this keeps it replaceable in one place.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The waits of one row of attempts; it never ends.
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Waits between nothing and a bound that doubles from `first` up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        // The crate draws from interval·(1 ± factor): with a factor of 1 and half the interval,
        // that is full jitter, anything from nothing to the interval.
        let exponential = ExponentialBackoffBuilder::new()
            .with_initial_interval(first / 2)
            .with_max_interval(most / 2)
            .with_multiplier(2.0)
            .with_randomization_factor(1.0)
            .with_max_elapsed_time(None)
            .build();
        Self(exponential)
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_over_after_a_success() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, most);
        assert!(backoff.next_wait() <= first);
        let longest = (0..200).map(|_| backoff.next_wait()).max().expect("waits");
        assert!(longest <= most && longest > most / 2, "{longest:?}");
        backoff.reset();
        assert!(backoff.next_wait() <= first);
    }
}
