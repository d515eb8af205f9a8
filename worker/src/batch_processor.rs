//! A lane: takes a batch, stores it, settles it. Lanes of a session work side by side.

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
use crate::session::{Session, Taken};
use crate::settings::Settings;
use crate::spans::StoreSpans;
use crate::traffic::Tally;

const STORE_BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// What every lane has.
#[derive(Clone)]
pub struct Context {
    pub store: Arc<dyn Store>,
    pub settings: Arc<Settings>,
    pub metrics: Metrics,
    pub lifecycle: LifecycleWatch,
    pub consume_health: HealthWatch,
    pub last_taken: LastTaken,
    pub tracer: Tracer,
    pub tally: Tally,
}

/// A lane, with a publisher of its own for what has to go elsewhere.
pub struct BatchProcessor {
    pub context: Context,
    pub publisher: Box<dyn Publisher>,
}

impl BatchProcessor {
    /// Works batches until the session takes no more.
    pub async fn run(mut self, session: Arc<Session>) {
        while let Some(taken) = session.take().await {
            match taken {
                Taken::Batch(deliveries) => {
                    if self.work(deliveries, &session).await {
                        session.stored();
                    }
                }
                Taken::Suspect(suspect) => poison::handle(suspect, &mut self, &session).await,
            }
        }
    }

    /// Works one batch until it is settled: stored or sent on and acknowledged, republished
    /// unchanged, or handed back. Tells whether it was stored.
    pub async fn work(&mut self, deliveries: Vec<Delivery>, session: &Session) -> bool {
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
                    debug!(wait_seconds = wait.as_secs_f64(), "trying the store again");
                    if !self.context.may_still_hold(wait).await {
                        break;
                    }
                }
            }
        }
        requeue_all(deliveries).await;
        false
    }

    /// One attempt at storing a batch; what failed by itself is sent on.
    async fn attempt(&mut self, deliveries: &[Delivery], session: &Session) -> Result<(), Blocked> {
        let lifecycle = self.context.lifecycle.clone();
        let decoded = decode(deliveries);
        let spans = StoreSpans::begin(&self.context.tracer, &decoded.readable);
        let in_hand = i64::try_from(decoded.readable.len()).unwrap_or(i64::MAX);
        self.context.metrics.in_hand.add(in_hand);
        self.context.last_taken.took(decoded.readable.iter().map(|item| &item.envelope));
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

    /// Held for as long as the broker allows: published again, unchanged and confirmed, and the
    /// originals acknowledged.
    async fn republish_unchanged(&mut self, deliveries: Vec<Delivery>) {
        warn!(
            messages = deliveries.len(),
            "the store is still away: giving back what was held, unchanged"
        );
        for delivery in deliveries {
            let (kind, lifecycle) = (delivery.kind, &self.context.lifecycle);
            let publisher = &mut *self.publisher;
            let sent =
                send(publisher, Destination::Activities, kind, &delivery.body, lifecycle).await;
            match sent {
                Ok(_) => delivery.ack().await,
                Err(_) => delivery.requeue().await,
            }
        }
    }
}

impl Context {
    /// Waits while holding; false: the worker drains, or the link to what is held is lost.
    async fn may_still_hold(&self, wait: Duration) -> bool {
        let mut link = self.consume_health.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.lifecycle.reached(Phase::Draining) => false,
            _ = link.wait_for(|health| *health != Health::Up) => false,
        }
    }

    /// Stores everything that can be stored; gives what failed by itself.
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
            failed.into_iter().map(|(item, why)| (item.envelope, why)).collect();
        let (news, mut envelopes): (Vec<_>, Vec<_>) =
            assigned.into_iter().map(|assigned| (assigned.new, Some(assigned.envelope))).unzip();
        for (chunk_at, chunk) in news.chunks(self.settings.batch_activities_max).enumerate() {
            let began = Instant::now();
            let narrowed = bisect::insert(&*self.store, chunk).await?;
            self.metrics.store_seconds.observe(began.elapsed().as_secs_f64());
            self.metrics.batch_activities.observe(chunk.len() as f64);
            self.metrics.stored.inc_by(narrowed.inserted.stored);
            self.metrics.replaced.inc_by(narrowed.inserted.replaced);
            self.metrics.duplicates.inc_by(narrowed.inserted.duplicates);
            let is_refused = |at: &usize| narrowed.refused.iter().any(|(refused, _)| refused == at);
            let stored = (0..chunk.len()).filter(|at| !is_refused(at));
            self.tally.stored(stored.map(|at| chunk[at].webhook_id));
            let now = Timestamp::now();
            for new in chunk {
                self.metrics.receipt_to_row_seconds.observe(now.seconds_since(new.received_at));
            }
            for (at, error) in narrowed.refused {
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

/// Questions can't be refused for what they ask; if one is, the store is not what it should be.
fn unavailable(error: StoreError) -> Unavailable {
    match error {
        StoreError::Unavailable(unavailable) => unavailable,
        StoreError::Refused(error) => Unavailable(error),
    }
}

/// Side by side, because each waits for its frame to be written.
async fn ack_all(deliveries: Vec<Delivery>) {
    futures_util::future::join_all(deliveries.into_iter().map(Delivery::ack)).await;
}

/// Gives every message back as it is.
pub async fn requeue_all(deliveries: Vec<Delivery>) {
    futures_util::future::join_all(deliveries.into_iter().map(Delivery::requeue)).await;
}
