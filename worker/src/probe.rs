//! The probe: proof that the queue delivers, and not only that a connection is open.
//!
//! A worker that waits for messages cannot tell an empty queue from a queue that delivers nothing,
//! for example to a consumer that the broker lists and does not serve. So a worker that waits
//! publishes a probe every 10 s. Some worker receives each probe and acknowledges it at once; with
//! several workers, the queue serves them in turn. A worker that receives nothing although enough
//! probes were confirmed is not ready and subscribes again.
//!
//! A probe is a message without activities, so workers of every version acknowledge it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use prometheus::{Gauge, Registry};
use tokio::sync::watch;
use tracing::{debug, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{
    Delivery, Depths, Destination, MessageKind, Publisher, Queue, Settle, Source, Subscription,
};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch, Phase};
use trailpad_common::runtime::metrics::{QUEUE_PROBE_SECONDS, Registrar};

const PROBE: &[u8] = b"[]";
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Time without a delivery, or without a confirm, after which a worker is not ready.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Number of confirmed probes of which each consumer must have received some.
const PROBES_PER_CONSUMER: u32 = 2;
const PROBES_MIN: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Working,
    /// The queue takes messages and delivers none to this worker.
    Undelivered,
    /// The queue confirms no message.
    Unconfirmed,
}

/// Observations of one worker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Time since the worker has had no unsettled message; `None` if it has one, or if it does not
    /// consume.
    waiting: Option<Duration>,
    /// Probes of this worker that were confirmed in that time.
    probes_confirmed: u32,
    /// Consumers of the queue, also of other workers.
    consumers: u32,
    /// Time since the publication of the probe that is not confirmed.
    unconfirmed: Option<Duration>,
}

fn progress(seen: Seen) -> Progress {
    let is_silent = |time: Option<Duration>| time.is_some_and(|time| time >= SILENCE_MAX);
    let probes_needed = PROBES_MIN.max(PROBES_PER_CONSUMER.saturating_mul(seen.consumers));
    if is_silent(seen.unconfirmed) {
        Progress::Unconfirmed
    } else if is_silent(seen.waiting) && seen.probes_confirmed >= probes_needed {
        Progress::Undelivered
    } else {
        Progress::Working
    }
}

/// The state of the probe, shared by the subscription, its deliveries and the task.
#[derive(Clone)]
pub struct Probe(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Counts the times that the worker must subscribe again.
    resubscribe: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Subscriptions that are open and not cancelled.
    subscriptions: usize,
    unsettled: usize,
    /// The last subscription, delivery or settlement.
    last_event: Option<Instant>,
    /// As `last_event`, but not renewed by a subscription that follows a stall.
    silent_since: Option<Instant>,
    probes_confirmed: u32,
    unconfirmed_since: Option<Instant>,
    /// The reason for which the worker is not ready; stays until a delivery or a confirm arrives.
    stalled: Option<(Progress, String)>,
}

impl State {
    fn seen(&self, now: Instant, consumers: u32) -> Seen {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        Seen {
            waiting: since(self.last_event).filter(|_| self.is_waiting()),
            probes_confirmed: self.probes_confirmed,
            consumers,
            unconfirmed: since(self.unconfirmed_since),
        }
    }

    fn is_waiting(&self) -> bool {
        self.subscriptions > 0 && self.unsettled == 0
    }

    /// Records a subscription, a delivery or a settlement.
    fn event(&mut self) {
        self.judge_anew();
        self.silent_since = self.last_event;
    }

    fn judge_anew(&mut self) {
        self.last_event = Some(Instant::now());
        self.probes_confirmed = 0;
    }

    fn silence(&self, now: Instant) -> Duration {
        let since = self.silent_since.filter(|_| self.is_waiting());
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn clear(&mut self, ended: Progress) {
        self.stalled.take_if(|(progress, _)| *progress == ended);
    }
}

impl Probe {
    fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), resubscribe: watch::Sender::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a delivery. Returns `true` if it is a probe, which the caller acknowledges at once.
    pub fn on_delivery(&self, delivery: &Delivery) -> bool {
        let mut state = self.state();
        state.event();
        state.clear(Progress::Undelivered);
        delivery.kind == MessageKind::Activities && delivery.body == PROBE
    }

    fn subscribed(&self) {
        let mut state = self.state();
        state.subscriptions += 1;
        match state.stalled {
            Some((Progress::Undelivered, _)) => state.judge_anew(),
            _ => state.event(),
        }
    }

    /// Counts the delivery as unsettled until it is settled or dropped.
    fn count(&self, delivery: Delivery) -> Delivery {
        self.state().unsettled += 1;
        let probe = self.clone();
        delivery.wrap_settle(|settle| Box::new(CountedSettle { settle, probe }))
    }
}

struct CountedSettle {
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

/// A queue whose deliveries are proved by probes. Its `publish_health` is also down while the queue
/// confirms or delivers nothing.
pub struct ProbedQueue {
    queue: Arc<dyn Queue>,
    probe: Probe,
    health: HealthWatch,
}

impl ProbedQueue {
    /// Starts the probe of a worker. It ends once the worker drains or the queue is dropped.
    ///
    /// # Errors
    /// The registry already contains the metric of the probe.
    pub fn start(
        queue: Arc<dyn Queue>,
        registry: &Registry,
        lifecycle: LifecycleWatch,
    ) -> prometheus::Result<Arc<dyn Queue>> {
        let seconds = Registrar(registry).seconds(&QUEUE_PROBE_SECONDS)?;
        let publish_health = queue.publish_health();
        let (sender, health) = watch::channel(publish_health.borrow().clone());
        let probe = Probe::new();
        let prober = Prober {
            queue: Arc::downgrade(&queue),
            probe: probe.clone(),
            publish_health,
            health: sender,
            seconds,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = prober.run() => {}
                () = lifecycle.reached(Phase::Draining) => {}
            }
        });
        Ok(Arc::new(Self { queue, probe, health }))
    }
}

#[async_trait]
impl Queue for ProbedQueue {
    fn publisher(&self) -> Box<dyn Publisher> {
        self.queue.publisher()
    }

    fn publish_health(&self) -> HealthWatch {
        self.health.clone()
    }

    fn consume_health(&self) -> HealthWatch {
        self.queue.consume_health()
    }

    async fn subscribe(
        &self,
        source: Source,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Unavailable> {
        let subscription = self.queue.subscribe(source, prefetch).await?;
        if source == Source::Dead {
            return Ok(subscription);
        }
        let probe = self.probe.clone();
        probe.subscribed();
        let resubscribe = probe.0.resubscribe.subscribe();
        Ok(Box::new(ProbedSubscription { subscription, probe, resubscribe, is_open: true }))
    }

    async fn depths(&self) -> Result<Depths, Unavailable> {
        self.queue.depths().await
    }

    async fn consumers(&self) -> Result<u32, Unavailable> {
        self.queue.consumers().await
    }
}

struct ProbedSubscription {
    subscription: Box<dyn Subscription>,
    probe: Probe,
    /// Changes if the queue delivers nothing to this subscription.
    resubscribe: watch::Receiver<u64>,
    is_open: bool,
}

impl Drop for ProbedSubscription {
    fn drop(&mut self) {
        self.close();
    }
}

impl ProbedSubscription {
    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.probe.state().subscriptions -= 1;
        }
    }

    /// Returns the delivery, or `None` if it was a probe.
    fn filter(&self, delivery: Delivery) -> Option<Delivery> {
        if self.probe.on_delivery(&delivery) {
            // Spawned, because the caller may drop the future that waits for the next message.
            tokio::spawn(delivery.ack());
            return None;
        }
        Some(self.probe.count(delivery))
    }
}

#[async_trait]
impl Subscription for ProbedSubscription {
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.subscription.next() => next,
                Ok(()) = self.resubscribe.changed() => {
                    Err(Unavailable("the queue delivers nothing to this consumer".into()))
                }
            };
            match next {
                Ok(Some(delivery)) => {
                    if let Some(delivery) = self.filter(delivery) {
                        return Ok(Some(delivery));
                    }
                }
                ended => {
                    self.close();
                    return ended;
                }
            }
        }
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.subscription.next_ready()?;
            if let Some(delivery) = self.filter(delivery) {
                return Some(delivery);
            }
        }
    }

    async fn set_prefetch(&mut self, messages: u16) {
        self.subscription.set_prefetch(messages).await;
    }

    async fn cancel(&mut self) {
        self.close();
        self.subscription.cancel().await;
    }
}

/// The task of the probe.
struct Prober {
    /// Weak, so that the task does not keep the queue open.
    queue: Weak<dyn Queue>,
    probe: Probe,
    publish_health: HealthWatch,
    health: watch::Sender<Health>,
    seconds: Gauge,
}

impl Prober {
    async fn run(mut self) {
        let probe = self.probe.clone();
        let queue = self.queue.clone();
        tokio::join!(publish(queue, probe), async move {
            while let Some(queue) = self.queue.upgrade() {
                self.check(&*queue).await;
                drop(queue);
                tokio::select! {
                    () = tokio::time::sleep(CHECK_INTERVAL) => {}
                    Ok(()) = self.publish_health.changed() => {}
                }
            }
        });
    }

    async fn check(&self, queue: &dyn Queue) {
        let now = Instant::now();
        let seen = self.probe.state().seen(now, 0);
        let can_publish = *self.publish_health.borrow() == Health::Up;
        let silence = if can_publish { self.probe.state().silence(now) } else { Duration::ZERO };
        self.seconds.set(silence.as_secs_f64());
        // Only a worker that would be stalled beside no other consumer asks for their number.
        let consumers = match progress(seen) {
            Progress::Undelivered => queue.consumers().await.unwrap_or(u32::MAX),
            Progress::Working | Progress::Unconfirmed => 0,
        };
        let mut state = self.probe.state();
        let seen = state.seen(Instant::now(), consumers);
        let found = progress(seen);
        if let Some(reason) = reason(found, seen)
            && state.stalled.as_ref().is_none_or(|(stalled, _)| *stalled != found)
        {
            warn!(reason, "no progress at the queue");
            state.stalled = Some((found, reason));
        }
        if found == Progress::Undelivered {
            state.judge_anew();
            self.probe.0.resubscribe.send_modify(|count| *count += 1);
        }
        let stalled = state.stalled.as_ref().map(|(_, reason)| reason.clone());
        drop(state);
        let health = match (&*self.publish_health.borrow(), stalled) {
            (Health::Up, Some(reason)) => Health::Down(reason),
            (health, _) => health.clone(),
        };
        self.health.send_if_modified(|current| {
            let is_changed = *current != health;
            *current = health;
            is_changed
        });
    }
}

fn reason(progress: Progress, seen: Seen) -> Option<String> {
    match progress {
        Progress::Working => None,
        Progress::Undelivered => Some(format!(
            "no delivery for {} s though the broker confirmed {} messages; subscribing again",
            SILENCE_MAX.as_secs(),
            seen.probes_confirmed
        )),
        Progress::Unconfirmed => {
            Some(format!("the broker confirmed no message for {} s", SILENCE_MAX.as_secs()))
        }
    }
}

/// Publishes a probe every 10 s while the worker waits for messages.
async fn publish(queue: Weak<dyn Queue>, probe: Probe) {
    let mut publisher = None;
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let Some(queue) = queue.upgrade() else { return };
        let waiting = probe.state().seen(Instant::now(), 0).waiting;
        if waiting.is_none_or(|waiting| waiting < PROBE_INTERVAL) {
            continue;
        }
        let publisher_in_use = publisher.get_or_insert_with(|| queue.publisher());
        drop(queue);
        probe.state().unconfirmed_since.get_or_insert_with(Instant::now);
        let published =
            publisher_in_use.publish(Destination::Activities, MessageKind::Activities, PROBE);
        match tokio::time::timeout(SILENCE_MAX, published).await {
            Ok(Ok(())) => {
                let mut state = probe.state();
                state.unconfirmed_since = None;
                state.probes_confirmed += 1;
                state.clear(Progress::Unconfirmed);
            }
            Ok(Err(error)) => {
                // The health of the connection reports the cause.
                probe.state().unconfirmed_since = None;
                debug!(%error, "the probe was not published");
            }
            // The next probe goes over another channel. The time without a confirm goes on.
            Err(_) => publisher = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(waiting: u64, probes_confirmed: u32, consumers: u32) -> Seen {
        let waiting = Some(Duration::from_secs(waiting));
        Seen { waiting, probes_confirmed, consumers, unconfirmed: None }
    }

    #[test]
    fn a_worker_that_receives_nothing_of_enough_confirmed_probes_makes_no_progress() {
        assert_eq!(progress(seen(60, 4, 1)), Progress::Undelivered);
        assert_eq!(progress(seen(59, 5, 1)), Progress::Working, "the time is not over");
        assert_eq!(progress(seen(600, 3, 1)), Progress::Working, "too few probes are confirmed");
    }

    #[test]
    fn other_consumers_may_have_received_the_probes() {
        assert_eq!(progress(seen(60, 6, 10)), Progress::Working);
        assert_eq!(progress(seen(200, 20, 10)), Progress::Undelivered);
    }

    #[test]
    fn a_worker_that_has_messages_or_does_not_consume_is_not_judged_by_its_deliveries() {
        let busy = Seen { waiting: None, probes_confirmed: 100, ..Seen::default() };
        assert_eq!(progress(busy), Progress::Working);
    }

    #[test]
    fn a_broker_that_confirms_nothing_for_a_minute_makes_no_progress() {
        let unconfirmed = |seconds| Seen {
            unconfirmed: Some(Duration::from_secs(seconds)),
            ..seen(seconds, 0, 1)
        };
        assert_eq!(progress(unconfirmed(59)), Progress::Working);
        assert_eq!(progress(unconfirmed(60)), Progress::Unconfirmed);
    }
}
