//! The monitor: tells operators, through metrics, how much waits and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tracing::debug;
use trailpad_common::queue::Queue;
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::runtime::lifecycle::Phase;
use trailpad_common::timestamp::Timestamp;

use crate::batch_processor::Context;

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Counting dead letters costs the store more than asking a queue for its depth.
const COUNT_EVERY_LOOKS: u32 = 6;
/// More say no more than "many".
const DEAD_LETTERS_COUNTED_MAX: u32 = 10_000;

/// When the activities that a worker took last were received. A broker doesn't tell how old its
/// oldest message is; what is taken from its head does.
#[derive(Clone, Default)]
pub struct LastTaken(Arc<AtomicI64>);

impl LastTaken {
    /// Notes what was taken. A retry is older than the queue, and says nothing of it.
    pub fn took<'e>(&self, envelopes: impl Iterator<Item = &'e Envelope<'e>>) {
        let fresh = envelopes.filter(|envelope| envelope.attempt == 1);
        if let Some(oldest) = fresh.map(|envelope| envelope.received_at).min() {
            self.0.store(oldest.unix_micros(), Ordering::Relaxed);
        }
    }

    fn get(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != 0).then(|| Timestamp::from_unix_micros(micros))
    }
}

/// Looks at queue and store until the worker drains.
pub struct QueueMonitor {
    pub queue: Arc<dyn Queue>,
    pub context: Context,
}

impl QueueMonitor {
    /// Runs until the worker drains. Where something can't be seen, its metrics stay as they were
    /// and their time tells so.
    pub async fn run(self) {
        let mut last_empty = None;
        for look in 0_u32.. {
            if let Err(why) = self.look(&mut last_empty, look % COUNT_EVERY_LOOKS == 0).await {
                debug!(reason = why, "can't see how much waits");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.context.lifecycle.reached(Phase::Draining) => return,
            }
        }
    }

    async fn look(
        &self,
        last_empty: &mut Option<Timestamp>,
        with_dead: bool,
    ) -> Result<(), String> {
        let metrics = &self.context.metrics;
        let depths = self.queue.depths().await.map_err(|why| why.to_string())?;
        for (queue, depth) in
            [("activities", depths.activities), ("retry", depths.retry), ("dead", depths.dead)]
        {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            metrics.queue_messages.with_label_values(&[queue]).set(depth);
        }
        let now = Timestamp::now();
        let waits = depths.activities > 0 || metrics.holding.get() > 0;
        if !waits {
            *last_empty = Some(now);
        }
        let age = age_seconds(now, waits, self.context.last_taken.get(), *last_empty);
        metrics.queue_age_seconds.set(age);
        if with_dead {
            let count = self.context.store.open_dead_letters(DEAD_LETTERS_COUNTED_MAX).await;
            let count = count.map_err(|why| why.to_string())?;
            metrics.dead_letters_open.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        metrics.queue_observed_timestamp_seconds.set(now.unix_micros() as f64 / 1e6);
        Ok(())
    }
}

/// How long the head of the queue has waited, at most: since what was taken last was received, or
/// since nothing waited.
fn age_seconds(
    now: Timestamp,
    waits: bool,
    last_taken: Option<Timestamp>,
    last_empty: Option<Timestamp>,
) -> f64 {
    match last_taken.max(last_empty) {
        Some(since) if waits => now.seconds_since(since),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_unix_micros(second * 1_000_000))
    }

    fn age(waits: bool, last_taken: Option<Timestamp>, last_empty: Option<Timestamp>) -> f64 {
        age_seconds(at(100).expect("some"), waits, last_taken, last_empty)
    }

    #[test]
    fn nothing_that_waits_has_no_age() {
        assert_eq!(age(false, at(10), at(20)), 0.0);
        assert_eq!(age(true, None, None), 0.0, "nothing is known yet");
    }

    #[test]
    fn a_backlog_is_as_old_as_what_was_taken_last() {
        assert_eq!(age(true, at(40), None), 60.0);
        assert_eq!(age(true, at(40), at(10)), 60.0);
    }

    #[test]
    fn after_a_quiet_time_the_last_activity_before_it_does_not_make_the_next_look_old() {
        assert_eq!(age(true, at(10), at(95)), 5.0);
    }
}
