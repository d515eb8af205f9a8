//! A session: one subscription, shared by the batch processors of the worker.
//!
//! A session ends once it is stopped or its connection is lost, and every message that it took is
//! settled. The worker then starts the next session. The mode of a session is fixed, which keeps
//! it simple.
//!
//! An isolated session holds one message at a time. The first session of a worker is isolated. So
//! is each session while the store may be unavailable or a message is suspected: the broker first
//! redelivers the unsettled messages of a crashed worker, so an isolated session takes a suspected
//! message with no other beside it.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tracing::{info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, Subscription};
use trailpad_common::runtime::lifecycle::{Health, LifecycleWatch, Phase};

use crate::mode::Mode;

/// A message is suspected after this many redeliveries without being settled.
pub const SUSPECTED_REDELIVERIES: u32 = 3;
/// Bounds the memory of a batch: about 3,000 activities of usual size.
const BATCH_BYTES_MAX: usize = 1_024 * 1_024;
const BATCH_MESSAGES_MAX: usize = 2_000;

pub struct Session {
    intake: Mutex<Intake>,
    stop: watch::Sender<bool>,
    store_unavailable_since: StdMutex<Option<Instant>>,
    mode: Mode,
    next_may_be_full: AtomicBool,
    hold_max: Duration,
    store_health: watch::Sender<Health>,
    lifecycle: LifecycleWatch,
}

struct Intake {
    subscription: Box<dyn Subscription>,
    /// Suspected messages that a full session received. They are requeued when it ends, for an
    /// isolated session.
    suspected: Vec<Delivery>,
}

/// Work for a batch processor.
pub enum Work {
    /// Messages to store together.
    Batch(Vec<Delivery>),
    /// A message that was redelivered repeatedly. No other message is unsettled.
    Suspected(Delivery),
}

impl Session {
    pub fn new(
        subscription: Box<dyn Subscription>,
        mode: Mode,
        hold_max: Duration,
        store_health: watch::Sender<Health>,
        lifecycle: LifecycleWatch,
    ) -> Self {
        Self {
            intake: Mutex::new(Intake { subscription, suspected: Vec::new() }),
            stop: watch::Sender::new(false),
            store_unavailable_since: StdMutex::new(None),
            mode,
            next_may_be_full: AtomicBool::new(mode == Mode::Full),
            hold_max,
            store_health,
            lifecycle,
        }
    }

    /// Waits for a message and returns it with those that have arrived already, up to the bounds
    /// of a batch. Returns `None` once the session takes no more messages.
    pub async fn next_work(&self) -> Option<Work> {
        let mut intake = self.intake.lock().await;
        let first = self.next_message(&mut intake).await?;
        if is_suspected(&first) {
            return Some(Work::Suspected(first));
        }
        let mut bytes = first.body.len();
        let mut batch = vec![first];
        while bytes < BATCH_BYTES_MAX
            && batch.len() < BATCH_MESSAGES_MAX
            && let Some(next) = self.next_ready(&mut intake)
        {
            bytes += next.body.len();
            batch.push(next);
        }
        Some(Work::Batch(batch))
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
                Ok(Some(delivery)) if self.mode == Mode::Full && is_suspected(&delivery) => {
                    self.set_aside(intake, delivery);
                }
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

    fn next_ready(&self, intake: &mut Intake) -> Option<Delivery> {
        loop {
            let delivery = intake.subscription.next_ready()?;
            if !is_suspected(&delivery) {
                return Some(delivery);
            }
            self.set_aside(intake, delivery);
        }
    }

    fn set_aside(&self, intake: &mut Intake, suspected: Delivery) {
        intake.suspected.push(suspected);
        self.next_may_be_full.store(false, Ordering::Release);
        self.stop();
    }

    fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn stop_requested(&self) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.lifecycle.reached(Phase::Draining) => {}
        }
    }

    /// Records that the store is unavailable and stops the intake. Returns the deadline for
    /// holding the messages that were taken.
    pub fn hold(&self, why: &Unavailable) -> Instant {
        self.stop();
        let mut unavailable_since =
            self.store_unavailable_since.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let since = unavailable_since.get_or_insert_with(|| {
            warn!(
                reason = %why,
                "store unavailable: holding the current batch (no attempt is counted)"
            );
            Instant::now()
        });
        self.store_health.send_replace(Health::Down(why.to_string()));
        *since + self.hold_max
    }

    /// Records that a batch without a suspected message was stored: an isolated session ends, so
    /// that a full one can follow.
    pub fn batch_stored(&self) {
        if self.mode.is_isolated() {
            self.next_may_be_full.store(true, Ordering::Release);
            self.stop();
        }
    }

    /// Records that the store is available.
    pub fn release(&self) {
        self.store_unavailable_since.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        self.store_health.send_if_modified(|health| {
            let has_recovered = *health != Health::Up;
            if has_recovered {
                info!("store available again");
                *health = Health::Up;
            }
            has_recovered
        });
    }

    /// Requeues the suspected messages and returns the mode of the next session. Called once all
    /// batch processors of the session have ended.
    pub async fn end(&self) -> Mode {
        let suspected = std::mem::take(&mut self.intake.lock().await.suspected);
        futures_util::future::join_all(suspected.into_iter().map(Delivery::requeue)).await;
        if !self.store_is_unavailable() && self.next_may_be_full.load(Ordering::Acquire) {
            Mode::Full
        } else {
            Mode::Isolated
        }
    }

    fn store_is_unavailable(&self) -> bool {
        self.store_unavailable_since
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .is_some()
    }
}

fn is_suspected(delivery: &Delivery) -> bool {
    delivery.redeliveries >= SUSPECTED_REDELIVERIES
}
