//! The archiver: moves dead letters from their queue into the store, where they can be seen,
//! searched and replayed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::dead_letter;
use trailpad_common::queue::{Delivery, Queue, Source, Subscription};
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{LifecycleWatch, Phase};
use trailpad_common::store::{Store, StoreError};
use trailpad_common::timestamp::Timestamp;

use crate::batch_processor::requeue_all;
use crate::metrics::Metrics;
use crate::traffic::Tally;

const PREFETCH_MESSAGES: u16 = 32;
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// Moves dead letters until the worker drains.
pub struct DeadLetterArchiver {
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub metrics: Metrics,
    pub lifecycle: LifecycleWatch,
    pub tally: Tally,
}

impl DeadLetterArchiver {
    /// Runs until the worker drains. While queue or store are away nothing is held: the dead
    /// letters stay in their queue, which gives none of them up.
    pub async fn run(self) {
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MOST);
        while !self.lifecycle.is_draining() {
            if let Err(why) = self.archive_all(&mut backoff).await {
                debug!(reason = %why, "dead letters wait in their queue");
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
            let taken = with_ready(first, &mut *subscription);
            let letters: Vec<_> = taken
                .iter()
                .flat_map(|delivery| dead_letter::read(delivery, Timestamp::now()))
                .collect();
            match self.store.archive_dead_letters(&letters).await {
                Ok(()) => {
                    backoff.reset();
                    self.metrics.archived.inc_by(letters.len() as u64);
                    self.tally.dead(letters.iter().filter_map(|letter| letter.webhook_id));
                    futures_util::future::join_all(taken.into_iter().map(Delivery::ack)).await;
                }
                Err(error) => {
                    requeue_all(taken).await;
                    return Err(explain(error));
                }
            }
        }
    }
}

fn with_ready(first: Delivery, subscription: &mut dyn Subscription) -> Vec<Delivery> {
    let mut taken = vec![first];
    while taken.len() < usize::from(PREFETCH_MESSAGES)
        && let Some(next) = subscription.next_ready()
    {
        taken.push(next);
    }
    taken
}

fn explain(error: StoreError) -> Unavailable {
    match error {
        StoreError::Unavailable(unavailable) => unavailable,
        StoreError::Refused(error) => {
            // A dead letter is bytes and our own words: a store that refuses one needs a person.
            warn!(error, "the store refused a dead letter; it stays in its queue");
            Unavailable(error)
        }
    }
}
