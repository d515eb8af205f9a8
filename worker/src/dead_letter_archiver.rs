//! The dead-letter archiver: moves dead letters from their queue into the store, where they can be
//! listed, searched and replayed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::dead_letter;
use trailpad_common::queue::{Delivery, Queue, Source, Subscription};
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{LifecycleWatch, Phase};
use trailpad_common::store::{DeadLetter, Store};
use trailpad_common::timestamp::Timestamp;

use crate::batch_processor::{ack_all, requeue_all};
use crate::metrics::Metrics;
use crate::traffic::TrafficCounters;

const PREFETCH_MESSAGES: u16 = 32;
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MOST: Duration = Duration::from_secs(30);

pub struct DeadLetterArchiver {
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub metrics: Metrics,
    pub lifecycle: LifecycleWatch,
    pub traffic_counters: TrafficCounters,
}

impl DeadLetterArchiver {
    /// Runs until the worker drains. While the queue or the store is unavailable, no dead letter
    /// is held: they stay in their queue, which discards none of them.
    pub async fn run(self) {
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MOST);
        while !self.lifecycle.is_draining() {
            if let Err(why) = self.archive_all(&mut backoff).await {
                debug!(reason = %why, "cannot archive dead letters; they stay in their queue");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_wait()) => {}
                () = self.lifecycle.reached(Phase::Draining) => {}
            }
        }
    }

    async fn archive_all(&self, backoff: &mut Backoff) -> Result<(), Unavailable> {
        let mut subscription = self.queue.subscribe(Source::Dead, PREFETCH_MESSAGES).await?;
        loop {
            let first = tokio::select! {
                next = subscription.next() => next?,
                () = self.lifecycle.reached(Phase::Draining) => return Ok(()),
            };
            let Some(first) = first else { return Ok(()) };
            let deliveries = with_ready(first, &mut *subscription);
            let letters: Vec<_> = deliveries.iter().flat_map(read).collect();
            if let Err(why) = self.store.record_failures(&[], &letters).await {
                requeue_all(deliveries).await;
                return Err(why);
            }
            backoff.reset();
            self.metrics.archived.inc_by(letters.len() as u64);
            self.traffic_counters.add_dead(letters.iter().filter_map(|letter| letter.webhook_id));
            ack_all(deliveries).await;
        }
    }
}

/// Reads a dead letter. One that panics its reader is kept as unreadable bytes.
fn read(delivery: &Delivery) -> Vec<DeadLetter> {
    let now = Timestamp::now();
    catch_unwind(AssertUnwindSafe(|| dead_letter::read(delivery, now))).unwrap_or_else(|_| {
        let error = "reading the dead letter crashed".to_owned();
        vec![dead_letter::of_unreadable(&delivery.body, error, now)]
    })
}

fn with_ready(first: Delivery, subscription: &mut dyn Subscription) -> Vec<Delivery> {
    let mut deliveries = vec![first];
    while deliveries.len() < usize::from(PREFETCH_MESSAGES)
        && let Some(next) = subscription.next_ready()
    {
        deliveries.push(next);
    }
    deliveries
}
