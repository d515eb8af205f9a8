//! The queue monitor: reports the depths of the queues and the age of the oldest activity as
//! metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tracing::debug;
use trailpad_common::queue::Queue;
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::runtime::lifecycle::{LifecycleWatch, Phase};
use trailpad_common::store::Store;
use trailpad_common::timestamp::Timestamp;

use crate::metrics::Metrics;

const OBSERVE_EVERY: Duration = Duration::from_secs(5);
/// Counting dead letters in the store is more expensive than reading the depth of a queue.
const OBSERVATIONS_PER_COUNT: u32 = 6;
/// Bounds the cost of the count. An exact number above this is not useful.
const DEAD_LETTERS_COUNTED_MAX: u32 = 10_000;

/// The time of receipt of the activities that the worker took last. A broker does not report the
/// age of its oldest message, so the messages taken from the head of the queue stand in for it.
#[derive(Clone, Default)]
pub struct LastTaken(Arc<AtomicI64>);

impl LastTaken {
    /// Records a batch. Retries are ignored: the time since their receipt includes their delays, so
    /// it does not show the age of the queue.
    pub fn record<'e>(&self, envelopes: impl Iterator<Item = &'e Envelope<'e>>) {
        let first_attempts = envelopes.filter(|envelope| envelope.attempt == 1);
        if let Some(oldest) = first_attempts.map(|envelope| envelope.received_at).min() {
            self.0.store(oldest.unix_micros(), Ordering::Relaxed);
        }
    }

    fn get(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != 0).then(|| Timestamp::from_unix_micros(micros))
    }
}

/// What earlier observations saw.
#[derive(Default)]
struct Seen {
    /// When the queue was last empty.
    empty_at: Option<Timestamp>,
    /// The activities that wait for a retry in the store.
    waiting_retries: u64,
}

pub struct QueueMonitor {
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub metrics: Metrics,
    pub last_taken: LastTaken,
    pub lifecycle: LifecycleWatch,
}

impl QueueMonitor {
    /// Runs until the worker drains. If an observation fails, the metrics keep their values and
    /// the timestamp of the last observation shows their age.
    pub async fn run(self) {
        let mut seen = Seen::default();
        for observation in 0_u32.. {
            let with_dead = observation % OBSERVATIONS_PER_COUNT == 0;
            if let Err(why) = self.observe(&mut seen, with_dead).await {
                debug!(reason = why, "cannot observe the queues");
            }
            tokio::select! {
                () = tokio::time::sleep(OBSERVE_EVERY) => {}
                () = self.lifecycle.reached(Phase::Draining) => return,
            }
        }
    }

    async fn observe(&self, seen: &mut Seen, with_dead: bool) -> Result<(), String> {
        let metrics = &self.metrics;
        let depths = self.queue.depths().await.map_err(|why| why.to_string())?;
        if with_dead {
            let usage = self.store.retry_usage().await.map_err(|why| why.to_string())?;
            seen.waiting_retries = usage.count;
        }
        // An earlier version kept retries in the queue.
        let retries = depths.retry + seen.waiting_retries;
        for (queue, depth) in
            [("activities", depths.activities), ("retry", retries), ("dead", depths.dead)]
        {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            metrics.queue_messages.with_label_values(&[queue]).set(depth);
        }
        let now = Timestamp::now();
        let has_backlog = depths.activities > 0 || metrics.holding.get() > 0;
        if !has_backlog {
            seen.empty_at = Some(now);
        }
        let age = age_seconds(now, has_backlog, self.last_taken.get(), seen.empty_at);
        metrics.queue_age_seconds.set(age);
        if with_dead {
            let count = self.store.open_dead_letters(DEAD_LETTERS_COUNTED_MAX).await;
            let count = count.map_err(|why| why.to_string())?;
            metrics.dead_letters_open.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        metrics.queue_observed_timestamp_seconds.set(now.unix_micros() as f64 / 1e6);
        Ok(())
    }
}

/// Upper bound for the age of the oldest waiting activity: the time since the activities taken last
/// were received, or since the queue was last empty, whichever is shorter. 0 without a backlog.
fn age_seconds(
    now: Timestamp,
    has_backlog: bool,
    last_taken: Option<Timestamp>,
    last_empty: Option<Timestamp>,
) -> f64 {
    match last_taken.max(last_empty) {
        Some(since) if has_backlog => now.seconds_since(since),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_unix_micros(second * 1_000_000))
    }

    fn age(has_backlog: bool, last_taken: Option<Timestamp>, last_empty: Option<Timestamp>) -> f64 {
        age_seconds(Timestamp::from_unix_micros(100_000_000), has_backlog, last_taken, last_empty)
    }

    #[test]
    fn the_age_is_zero_without_a_backlog() {
        assert_eq!(age(false, at(10), at(20)), 0.0);
        assert_eq!(age(true, None, None), 0.0, "nothing has been observed yet");
    }

    #[test]
    fn a_backlog_is_as_old_as_the_activities_taken_last() {
        assert_eq!(age(true, at(40), None), 60.0);
        assert_eq!(age(true, at(40), at(10)), 60.0);
    }

    #[test]
    fn an_activity_taken_before_the_queue_was_empty_does_not_count() {
        assert_eq!(age(true, at(10), at(95)), 5.0);
    }
}
