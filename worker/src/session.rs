//! A session: one subscription, shared by the batch processors of the worker.
//!
//! A session ends once it is stopped or its connection is lost, and every message that it took is
//! settled. It stops when the store is unavailable, so that no message is taken that must be held,
//! and when it receives a suspected message, which is then processed alone: see `trial.rs`.

use tokio::sync::{Mutex, watch};
use tracing::warn;
use trailpad_common::queue::{Delivery, Subscription};
use trailpad_common::runtime::lifecycle::{LifecycleWatch, Phase};

/// A message is suspected after this many deliveries without a settlement: its workers may have
/// crashed.
const SUSPECTED_REDELIVERIES: u32 = 3;
/// Bounds the memory of a batch: about 3,000 activities of usual size.
const BATCH_BYTES_MAX: usize = 1_024 * 1_024;
const BATCH_MESSAGES_MAX: usize = 2_000;

pub struct Session {
    intake: Mutex<Intake>,
    stop: watch::Sender<bool>,
    lifecycle: LifecycleWatch,
}

struct Intake {
    subscription: Box<dyn Subscription>,
    suspected: Vec<Delivery>,
}

impl Session {
    pub fn new(subscription: Box<dyn Subscription>, lifecycle: LifecycleWatch) -> Self {
        Self {
            intake: Mutex::new(Intake { subscription, suspected: Vec::new() }),
            stop: watch::Sender::new(false),
            lifecycle,
        }
    }

    /// Waits for a message and returns it with those that have arrived already, up to the bounds
    /// of a batch. Returns `None` once the session takes no more messages.
    pub async fn next_batch(&self) -> Option<Vec<Delivery>> {
        let mut intake = self.intake.lock().await;
        let first = self.next_message(&mut intake).await?;
        let mut bytes = first.body.len();
        let mut batch = vec![first];
        while bytes < BATCH_BYTES_MAX
            && batch.len() < BATCH_MESSAGES_MAX
            && let Some(next) = intake.subscription.next_ready()
        {
            if is_suspected(&next) {
                self.set_aside(&mut intake, next);
            } else {
                bytes += next.body.len();
                batch.push(next);
            }
        }
        Some(batch)
    }

    async fn next_message(&self, intake: &mut Intake) -> Option<Delivery> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.lifecycle.reached(Phase::Stopping) => return None,
                next = intake.subscription.next() => next,
                () = self.stop_requested() => {
                    // The stream still returns the messages that have arrived, then ends.
                    intake.subscription.cancel().await;
                    intake.subscription.next().await
                }
            };
            match next {
                Ok(Some(delivery)) if is_suspected(&delivery) => self.set_aside(intake, delivery),
                Ok(next) => return next,
                Err(why) => {
                    warn!(
                        reason = %why,
                        "subscription lost; the queue redelivers the unsettled messages"
                    );
                    self.stop();
                    return None;
                }
            }
        }
    }

    fn set_aside(&self, intake: &mut Intake, suspected: Delivery) {
        intake.suspected.push(suspected);
        self.stop();
    }

    /// Takes no more messages.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn stop_requested(&self) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.lifecycle.reached(Phase::Draining) => {}
        }
    }

    /// The suspected messages, once all batch processors of the session have ended.
    pub async fn take_suspected(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.intake.lock().await.suspected)
    }
}

fn is_suspected(delivery: &Delivery) -> bool {
    delivery.redeliveries >= SUSPECTED_REDELIVERIES
}
