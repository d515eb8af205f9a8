//! What an operator may set of a worker; trailpad/ reads it from flags and variables.

use std::time::Duration;

use trailpad_common::failure::retry::RetrySchedule;

/// The settings of a worker. Units stand in the names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages in hand at a time.
    pub prefetch_messages: u16,
    /// Activities stored by one statement, unless a single message has more.
    pub batch_activities_max: usize,
    /// Batches worked at a time, each on a connection of its own.
    pub concurrency: usize,
    /// How long to wait between attempts at an activity that failed.
    pub retry_schedule: RetrySchedule,
    /// How long messages are held while the store is away, before they are given back to the
    /// queue unchanged. Must be well below the broker's consumer timeout (30 minutes).
    pub hold_max: Duration,
    /// The longest wait between two attempts to reach a store that is away.
    pub store_backoff_max: Duration,
    /// How long the batches in hand may take to finish once the worker is told to stop.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefetch_messages: 512,
            batch_activities_max: 2_000,
            concurrency: 3,
            retry_schedule: RetrySchedule::default(),
            hold_max: Duration::from_secs(600),
            store_backoff_max: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(25),
        }
    }
}
