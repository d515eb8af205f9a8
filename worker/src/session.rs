//! A session: one subscription, and what its concurrency share.
//!
//! A session ends when it is told to stop or its link is lost, and everything it took is settled;
//! then the worker begins the next. That keeps each of them simple: it never changes its mind.
//!
//! A gentle session has one message in hand at a time. A worker begins with one, and goes on with
//! one while the store may be away or messages are suspected of ending their workers: the broker
//! delivers again first what a dead worker had in hand, so a suspect is met with nothing beside it.

use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tracing::{info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, Subscription};
use trailpad_common::runtime::lifecycle::{Health, LifecycleWatch, Phase};

/// Deliveries of a message, never settled, before it is suspected of ending its worker.
pub const SUSPECTED_REDELIVERIES: u32 = 3;
/// A lane takes this much at most, whatever is in it: some 3,000 activities of usual size.
const TAKE_BYTES_MAX: usize = 1_024 * 1_024;
const TAKE_MESSAGES_MAX: usize = 2_000;

/// What the concurrency of a session share.
pub struct Session {
    intake: Mutex<Intake>,
    stop: watch::Sender<bool>,
    /// Since when the store is away.
    away_since: Lock<Option<Instant>>,
    is_isolated: bool,
    /// Whether the next session may be a full one.
    may_go_on: AtomicBool,
    hold_max: Duration,
    store_health: watch::Sender<Health>,
    lifecycle: LifecycleWatch,
}

struct Intake {
    subscription: Box<dyn Subscription>,
    /// Met among other messages: given back for a gentle session.
    suspects: Vec<Delivery>,
}

/// What a lane takes.
pub enum Taken {
    /// Messages to be stored together.
    Batch(Vec<Delivery>),
    /// A message that was delivered again and again, with nothing else in hand.
    Suspect(Delivery),
}

impl Session {
    /// A session over a new subscription.
    pub fn new(
        subscription: Box<dyn Subscription>,
        is_isolated: bool,
        hold_max: Duration,
        store_health: watch::Sender<Health>,
        lifecycle: LifecycleWatch,
    ) -> Self {
        Self {
            intake: Mutex::new(Intake { subscription, suspects: Vec::new() }),
            stop: watch::Sender::new(false),
            away_since: Lock::new(None),
            is_isolated,
            may_go_on: AtomicBool::new(!is_isolated),
            hold_max,
            store_health,
            lifecycle,
        }
    }

    /// What has come, up to the bounds; waits for the first. None: there will be no more.
    pub async fn take(&self) -> Option<Taken> {
        let mut intake = self.intake.lock().await;
        let first = self.first(&mut intake).await?;
        if is_suspect(&first) {
            return Some(Taken::Suspect(first));
        }
        let mut bytes = first.body.len();
        let mut taken = vec![first];
        while bytes < TAKE_BYTES_MAX
            && taken.len() < TAKE_MESSAGES_MAX
            && let Some(next) = self.next_ready(&mut intake)
        {
            bytes += next.body.len();
            taken.push(next);
        }
        Some(Taken::Batch(taken))
    }

    async fn first(&self, intake: &mut Intake) -> Option<Delivery> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.lifecycle.reached(Phase::Stopping) => return None,
                next = intake.subscription.next() => next,
                () = self.told_to_stop() => {
                    // What has come already is still taken, and then the stream ends.
                    intake.subscription.cancel().await;
                    intake.subscription.next().await
                }
            };
            match next {
                Ok(Some(delivery)) if !self.is_isolated && is_suspect(&delivery) => {
                    self.set_aside(intake, delivery);
                }
                Ok(next) => return next,
                Err(why) => {
                    warn!(reason = %why, "the subscription was lost; what was in hand comes again");
                    self.stop();
                    return None;
                }
            }
        }
    }

    fn next_ready(&self, intake: &mut Intake) -> Option<Delivery> {
        loop {
            let delivery = intake.subscription.next_ready()?;
            if !is_suspect(&delivery) {
                return Some(delivery);
            }
            self.set_aside(intake, delivery);
        }
    }

    fn set_aside(&self, intake: &mut Intake, suspect: Delivery) {
        intake.suspects.push(suspect);
        self.may_go_on.store(false, Ordering::Release);
        self.stop();
    }

    fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn told_to_stop(&self) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.lifecycle.reached(Phase::Draining) => {}
        }
    }

    /// The store is away: nothing more is taken. Gives until when what is in hand may be held.
    pub fn hold(&self, why: &Unavailable) -> Instant {
        self.stop();
        let mut away_since =
            self.away_since.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let since = away_since.get_or_insert_with(|| {
            warn!(reason = %why, "the store is away: holding what is in hand, which costs no attempt");
            Instant::now()
        });
        self.store_health.send_replace(Health::Down(why.to_string()));
        *since + self.hold_max
    }

    /// The store has taken a batch of messages that were suspected of nothing.
    pub fn stored(&self) {
        if self.is_isolated {
            self.may_go_on.store(true, Ordering::Release);
            self.stop();
        }
    }

    /// The store answers.
    pub fn release(&self) {
        self.away_since.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        self.store_health.send_if_modified(|health| {
            let is_back = *health != Health::Up;
            if is_back {
                info!("the store is back");
                *health = Health::Up;
            }
            is_back
        });
    }

    /// Ends the session, once its concurrency have ended; tells whether the next must be gentle.
    pub async fn end(&self) -> bool {
        let suspects = std::mem::take(&mut self.intake.lock().await.suspects);
        futures_util::future::join_all(suspects.into_iter().map(Delivery::requeue)).await;
        self.store_is_away() || !self.may_go_on.load(Ordering::Acquire)
    }

    fn store_is_away(&self) -> bool {
        self.away_since.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some()
    }
}

fn is_suspect(delivery: &Delivery) -> bool {
    delivery.redeliveries >= SUSPECTED_REDELIVERIES
}
