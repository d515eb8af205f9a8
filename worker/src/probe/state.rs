//! The state of the probe, shared by the subscription, its deliveries and the task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use trailpad_common::queue::{Delivery, MessageKind, Settle};

use super::progress::{Progress, Seen};

/// A message without activities.
pub(super) const PROBE: &[u8] = b"[]";

/// The state of the probe, shared by the subscription, its deliveries and the task.
#[derive(Clone)]
pub(super) struct Probe(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Counts the times that the worker must subscribe again.
    resubscribe: watch::Sender<u64>,
}

#[derive(Default)]
pub(super) struct State {
    /// Subscriptions that are open and not cancelled.
    pub subscriptions: usize,
    pub unsettled: usize,
    /// The last subscription, delivery or settlement.
    pub last_event: Option<Instant>,
    /// As `last_event`, but not renewed by a subscription that follows a stall.
    pub silent_since: Option<Instant>,
    pub probes_confirmed: u32,
    pub unconfirmed_since: Option<Instant>,
    /// The reason for which the worker is not ready; stays until a delivery or a confirm arrives.
    pub stalled: Option<(Progress, String)>,
}

impl State {
    pub fn seen(&self, now: Instant, consumers: u32) -> Seen {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        Seen {
            waiting: since(self.last_event).filter(|_| self.is_waiting()),
            probes_confirmed: self.probes_confirmed,
            consumers,
            unconfirmed: since(self.unconfirmed_since),
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.subscriptions > 0 && self.unsettled == 0
    }

    /// Records a subscription, a delivery or a settlement.
    pub fn event(&mut self) {
        self.judge_anew();
        self.silent_since = self.last_event;
    }

    pub fn judge_anew(&mut self) {
        self.last_event = Some(Instant::now());
        self.probes_confirmed = 0;
    }

    pub fn silence(&self, now: Instant) -> Duration {
        let since = self.silent_since.filter(|_| self.is_waiting());
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub fn clear(&mut self, ended: Progress) {
        self.stalled.take_if(|(progress, _)| *progress == ended);
    }
}

impl Probe {
    pub fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), resubscribe: watch::Sender::default() }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the current subscription end with an error.
    pub fn end_subscription(&self) {
        self.0.resubscribe.send_modify(|count| *count += 1);
    }

    /// Changes when the current subscription must end.
    pub fn subscription_ends(&self) -> watch::Receiver<u64> {
        self.0.resubscribe.subscribe()
    }

    /// Records a delivery. Returns `true` if it is a probe, which the caller acknowledges at once.
    pub fn on_delivery(&self, delivery: &Delivery) -> bool {
        let mut state = self.state();
        state.event();
        state.clear(Progress::Undelivered);
        delivery.kind == MessageKind::Activities && delivery.body == PROBE
    }

    pub fn subscribed(&self) {
        let mut state = self.state();
        state.subscriptions += 1;
        match state.stalled {
            Some((Progress::Undelivered, _)) => state.judge_anew(),
            _ => state.event(),
        }
    }

    /// Counts the delivery as unsettled until it is settled or dropped.
    pub fn count(&self, delivery: Delivery) -> Delivery {
        self.state().unsettled += 1;
        let probe = self.clone();
        delivery.wrap_settle(|settle| Box::new(CountedSettle { settle, probe }))
    }
}

pub(super) struct CountedSettle {
    settle: Box<dyn Settle>,
    probe: Probe,
}

#[async_trait]
impl Settle for CountedSettle {
    async fn ack(&self) {
        self.settle.ack().await;
    }

    async fn requeue(&self) {
        self.settle.requeue().await;
    }
}

impl Drop for CountedSettle {
    fn drop(&mut self) {
        let mut state = self.probe.state();
        state.unsettled -= 1;
        state.event();
    }
}
