//! The batch processor: takes a batch of messages, stores it and settles it. The batch processors
//! of a session run concurrently.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::RwLock;
use tracing::warn;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, Destination, Queue};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch, Phase};

use crate::decode::read;
use crate::queue_monitor::LastTaken;
use crate::republish::republish;
use crate::session::Session;
use crate::store_health::StoreHealth;
use crate::storer::{Origin, Storer};

#[derive(Clone)]
pub struct BatchProcessor {
    pub queue: Arc<dyn Queue>,
    pub storer: Storer,
    pub store_health: StoreHealth,
    pub consume_health: HealthWatch,
    pub lifecycle: LifecycleWatch,
    pub last_taken: LastTaken,
    /// Held shared while a batch is processed, and exclusively for a trial.
    pub alone: Arc<RwLock<()>>,
}

/// The outcome of one attempt to store a batch.
enum Attempt {
    Stored,
    Unavailable(Unavailable),
    Stopping,
}

/// The end of a hold.
enum Held {
    StoreIsBack,
    /// Each message was published again and acknowledged.
    Republished,
    /// The worker is stopping, or the connection is lost.
    GivenUp,
}

impl BatchProcessor {
    /// Processes batches until the session takes no more messages.
    pub async fn run(self, session: Arc<Session>) {
        while let Some(deliveries) = session.next_batch().await {
            self.process(deliveries, &session).await;
        }
    }

    /// Processes one batch until all its messages are settled: acknowledged because the store holds
    /// every activity, republished unchanged, or requeued.
    async fn process(&self, mut deliveries: Vec<Delivery>, session: &Session) {
        let mut held_since = None;
        loop {
            match self.attempt(&deliveries).await {
                Attempt::Stored => return self.while_connected(ack_all(deliveries)).await,
                Attempt::Stopping => return self.while_connected(requeue_all(deliveries)).await,
                Attempt::Unavailable(why) => {
                    self.store_health.report_down(&why);
                    session.stop();
                }
            }
            let since = *held_since.get_or_insert_with(Instant::now);
            match self.hold(&mut deliveries, since).await {
                Held::StoreIsBack => {}
                Held::Republished => return,
                Held::GivenUp => return self.while_connected(requeue_all(deliveries)).await,
            }
        }
    }

    /// Settles messages unless their connection is lost: the queue then delivers them again.
    async fn while_connected(&self, settling: impl Future<Output = ()>) {
        let mut consume_health = self.consume_health.clone();
        tokio::select! {
            () = settling => {}
            _ = consume_health.wait_for(|health| *health != Health::Up) => {}
        }
    }

    async fn attempt(&self, deliveries: &[Delivery]) -> Attempt {
        let _shared = self.alone.read().await;
        let contents = read(deliveries);
        let metrics = &self.storer.metrics;
        let in_hand = i64::try_from(contents.envelopes.len()).unwrap_or(i64::MAX);
        metrics.in_hand.add(in_hand);
        self.last_taken.record(contents.envelopes.iter());
        let attempt = tokio::select! {
            stored = self.storer.store(&contents, Origin::Queue) => match stored {
                Ok(()) => Attempt::Stored,
                Err(unavailable) => Attempt::Unavailable(unavailable),
            },
            () = self.lifecycle.reached(Phase::Stopping) => Attempt::Stopping,
        };
        metrics.in_hand.sub(in_hand);
        if matches!(attempt, Attempt::Stored) {
            self.store_health.report_up();
        }
        attempt
    }

    /// Keeps the messages until the store is back. Once they were held for `hold_max`, or the worker
    /// drains, it also publishes them again, whichever comes first: a broker closes the channel of a
    /// message that is held too long, and a broker with an alarm accepts no message.
    async fn hold(&self, deliveries: &mut Vec<Delivery>, since: Instant) -> Held {
        let metrics = &self.storer.metrics;
        metrics.holding.set(1);
        let hold_until = since + self.storer.settings.hold_max;
        let republished = async {
            tokio::select! {
                () = tokio::time::sleep_until(hold_until.into()) => {}
                () = self.lifecycle.reached(Phase::Draining) => {}
            }
            warn!(messages = deliveries.len(), "publishing the held messages again, unchanged");
            let mut publisher = self.queue.republisher();
            republish(&mut *publisher, Destination::Activities, deliveries).await;
        };
        let mut consume_health = self.consume_health.clone();
        let held = tokio::select! {
            () = self.store_health.is_up() => Held::StoreIsBack,
            () = republished => Held::Republished,
            () = self.lifecycle.reached(Phase::Stopping) => Held::GivenUp,
            _ = consume_health.wait_for(|health| *health != Health::Up) => Held::GivenUp,
        };
        metrics.holding.set(0);
        held
    }
}

/// Concurrent, because each acknowledgement waits until its frame is written.
pub async fn ack_all(deliveries: Vec<Delivery>) {
    futures_util::future::join_all(deliveries.into_iter().map(Delivery::ack)).await;
}

pub async fn requeue_all(deliveries: Vec<Delivery>) {
    futures_util::future::join_all(deliveries.into_iter().map(Delivery::requeue)).await;
}
