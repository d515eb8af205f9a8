//! The batch processor: takes a batch of messages, stores it and settles it. The batch processors
//! of a session run concurrently.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};
use trailpad_common::failure::{Cause, Failure, Reason, Unavailable};
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::queue::{Delivery, Destination, Publisher};
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch, Phase};
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::{Store, StoreError};
use trailpad_common::timestamp::Timestamp;

use crate::assign::{assign, questions};
use crate::bisect;
use crate::decode::{Item, decode};
use crate::metrics::Metrics;
use crate::poison;
use crate::queue_monitor::LastTaken;
use crate::reroute::{Blocked, FailureRouter, send};
use crate::session::{Session, Work};
use crate::settings::Settings;
use crate::spans::StoreSpans;
use crate::traffic::TrafficCounters;

const STORE_BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// Shared by the batch processors and the queue monitor.
#[derive(Clone)]
pub struct Context {
    pub store: Arc<dyn Store>,
    pub settings: Arc<Settings>,
    pub metrics: Metrics,
    pub lifecycle: LifecycleWatch,
    pub consume_health: HealthWatch,
    pub last_taken: LastTaken,
    pub tracer: Tracer,
    pub traffic_counters: TrafficCounters,
}

pub struct BatchProcessor {
    pub context: Context,
    /// For retries, dead letters and republished messages. Not shared: an unconfirmed message
    /// occupies its publisher.
    pub publisher: Box<dyn Publisher>,
}

impl BatchProcessor {
    /// Processes batches until the session takes no more messages.
    pub async fn run(mut self, session: Arc<Session>) {
        while let Some(work) = session.next_work().await {
            match work {
                Work::Batch(deliveries) => {
                    if self.process(deliveries, &session).await {
                        session.batch_stored();
                    }
                }
                Work::Suspected(delivery) => poison::handle(delivery, &mut self, &session).await,
            }
        }
    }

    /// Processes one batch until all its messages are settled: acknowledged because every activity
    /// is stored or rerouted, republished unchanged, or requeued. Returns `true` in the first case.
    pub async fn process(&mut self, deliveries: Vec<Delivery>, session: &Session) -> bool {
        let settings = &self.context.settings;
        let mut backoff = Backoff::new(STORE_BACKOFF_FIRST, settings.store_backoff_max);
        loop {
            match self.attempt(&deliveries, session).await {
                Ok(()) => {
                    ack_all(deliveries).await;
                    return true;
                }
                Err(Blocked::Requeue) => break,
                Err(Blocked::Hold(why)) => {
                    let hold_until = session.hold(&why);
                    self.context.metrics.holding.set(1);
                    let wait = backoff.next_wait();
                    if Instant::now() + wait > hold_until {
                        self.republish_unchanged(deliveries).await;
                        return false;
                    }
                    debug!(wait_seconds = wait.as_secs_f64(), "retrying the store");
                    if !self.context.may_still_hold(wait).await {
                        break;
                    }
                }
            }
        }
        requeue_all(deliveries).await;
        false
    }

    /// Makes one attempt to store a batch, and reroutes the activities that failed individually.
    async fn attempt(&mut self, deliveries: &[Delivery], session: &Session) -> Result<(), Blocked> {
        let lifecycle = self.context.lifecycle.clone();
        let decoded = decode(deliveries);
        let spans = StoreSpans::begin(&self.context.tracer, &decoded.readable);
        let in_hand = i64::try_from(decoded.readable.len()).unwrap_or(i64::MAX);
        self.context.metrics.in_hand.add(in_hand);
        self.context.last_taken.record(decoded.readable.iter().map(|item| &item.envelope));
        let stored = tokio::select! {
            stored = self.context.store_all(decoded.readable) => stored.map_err(Blocked::Hold),
            () = lifecycle.reached(Phase::Stopping) => Err(Blocked::Requeue),
        };
        self.context.metrics.in_hand.sub(in_hand);
        let mut failed = stored?;
        session.release();
        self.context.metrics.holding.set(0);
        spans.end(&self.context.tracer, &failed);
        failed.extend(decoded.failed);
        let router = FailureRouter::sort(
            failed,
            &decoded.unreadable,
            &self.context.settings.retry_schedule,
        )?;
        let published =
            router.publish(&mut *self.publisher, &self.context.metrics, &lifecycle).await;
        published.map_err(|_| Blocked::Requeue)
    }

    /// Publishes the messages again, unchanged and confirmed, and acknowledges the originals. This
    /// ends a hold before the broker's consumer timeout.
    async fn republish_unchanged(&mut self, deliveries: Vec<Delivery>) {
        warn!(
            messages = deliveries.len(),
            "store still unavailable: republishing the held messages unchanged"
        );
        for delivery in deliveries {
            let sent = send(
                &mut *self.publisher,
                Destination::Activities,
                delivery.kind,
                &delivery.body,
                &self.context.lifecycle,
            );
            match sent.await {
                Ok(_) => delivery.ack().await,
                Err(_) => delivery.requeue().await,
            }
        }
    }
}

impl Context {
    /// Waits while messages are held. Returns `false` if the worker drains, or if the connection
    /// over which they were delivered is lost.
    async fn may_still_hold(&self, wait: Duration) -> bool {
        let mut health = self.consume_health.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.lifecycle.reached(Phase::Draining) => false,
            _ = health.wait_for(|health| *health != Health::Up) => false,
        }
    }

    /// Stores the activities that can be stored, and returns those that failed individually.
    async fn store_all<'a>(
        &self,
        items: Vec<Item<'a>>,
    ) -> Result<Vec<(Envelope<'a>, Failure)>, Unavailable> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let questions = questions(&items);
        let answers = self.store.resolve(&questions.queries).await.map_err(unavailable)?;
        let (assigned, failed) = assign(items, &questions, &answers);
        let mut failed: Vec<_> =
            failed.into_iter().map(|(item, failure)| (item.envelope, failure)).collect();
        let (news, mut envelopes): (Vec<_>, Vec<_>) =
            assigned.into_iter().map(|assigned| (assigned.new, Some(assigned.envelope))).unzip();
        for (chunk_at, chunk) in news.chunks(self.settings.batch_activities_max).enumerate() {
            let began = Instant::now();
            let bisected = bisect::insert(&*self.store, chunk).await?;
            self.metrics.store_seconds.observe(began.elapsed().as_secs_f64());
            self.metrics.batch_activities.observe(chunk.len() as f64);
            self.metrics.stored.inc_by(bisected.inserted.stored);
            self.metrics.replaced.inc_by(bisected.inserted.replaced);
            self.metrics.duplicates.inc_by(bisected.inserted.duplicates);
            let is_refused = |at: &usize| bisected.refused.iter().any(|(refused, _)| refused == at);
            let stored = (0..chunk.len()).filter(|at| !is_refused(at));
            self.traffic_counters.add_stored(stored.map(|at| chunk[at].webhook_id));
            let now = Timestamp::now();
            for new in chunk {
                self.metrics.receipt_to_row_seconds.observe(now.seconds_since(new.received_at));
            }
            for (at, error) in bisected.refused {
                let cause = Cause { reason: Reason::RefusedByStore, error };
                let at = chunk_at * self.settings.batch_activities_max + at;
                failed.extend(
                    envelopes[at].take().map(|envelope| (envelope, Failure::Transient(cause))),
                );
            }
        }
        Ok(failed)
    }
}

/// A store has no reason to refuse a member query. If it does, the store itself is faulty, so the
/// worker treats it as unavailable.
fn unavailable(error: StoreError) -> Unavailable {
    match error {
        StoreError::Unavailable(unavailable) => unavailable,
        StoreError::Refused(error) => Unavailable(error),
    }
}

/// Concurrent, because each acknowledgement waits until its frame is written.
async fn ack_all(deliveries: Vec<Delivery>) {
    futures_util::future::join_all(deliveries.into_iter().map(Delivery::ack)).await;
}

pub async fn requeue_all(deliveries: Vec<Delivery>) {
    futures_util::future::join_all(deliveries.into_iter().map(Delivery::requeue)).await;
}
