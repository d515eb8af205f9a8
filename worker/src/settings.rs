//! Settings of a worker. `trailpad/` reads them from flags and environment variables.

use std::time::Duration;

use trailpad_common::failure::retry::RetrySchedule;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum number of unsettled messages at the same time.
    pub prefetch_messages: u16,
    /// Maximum number of activities stored by one statement.
    pub batch_activities_max: usize,
    /// Batches processed at the same time, each with its own database connection.
    pub concurrency: usize,
    /// Delays between the attempts to store an activity that failed.
    pub retry_schedule: RetrySchedule,
    /// Maximum bytes of the activities that wait for a retry. One webhook may use a quarter.
    pub retries_bytes_max: u64,
    /// Maximum time to hold messages while the store is unavailable, before they are republished
    /// unchanged. Must be well below the broker's consumer timeout (30 minutes).
    pub hold_max: Duration,
    /// Maximum wait between two probes of an unavailable store.
    pub store_backoff_max: Duration,
    /// Time for the current batches to finish once the worker drains.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefetch_messages: 512,
            batch_activities_max: 2_000,
            concurrency: 3,
            retry_schedule: RetrySchedule::default(),
            retries_bytes_max: 256 << 20,
            hold_max: Duration::from_secs(600),
            store_backoff_max: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(25),
        }
    }
}
