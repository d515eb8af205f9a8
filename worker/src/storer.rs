//! Puts a batch into the store: each activity as a row, as a waiting retry or as a dead letter.
//!
//! This is all that storing needs. It never waits for the queue, so a queue that accepts nothing
//! stops no worker.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::{error, info, warn};
use trailpad_common::email::Email;
use trailpad_common::failure::{Cause, Failure, Reason, Settlement, Unavailable, settlement};
use trailpad_common::queue::dead_letter;
use trailpad_common::queue::envelope::{Envelope, Unreadable};
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::{DeadLetter, NewActivity, Store, Stored, WaitingRetry};
use trailpad_common::timestamp::Timestamp;

use crate::assign::{assign, questions};
use crate::bisect;
use crate::decode::{Contents, Failed, Item, decode};
use crate::metrics::Metrics;
use crate::retry_room::RetryRoom;
use crate::settings::Settings;
use crate::spans::StoreSpans;
use crate::traffic::TrafficCounters;

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Queue,
    /// The retries that wait in the store.
    Retries,
}

#[derive(Clone)]
pub struct Storer {
    pub store: Arc<dyn Store>,
    pub settings: Arc<Settings>,
    pub metrics: Metrics,
    pub tracer: Tracer,
    pub traffic_counters: TrafficCounters,
    pub retry_room: RetryRoom,
}

impl Storer {
    /// Stores a batch. When this returns `Ok`, the store holds everything that was in it.
    ///
    /// A panic is contained: the batch is stored in halves, until the activity that panics is
    /// alone. It then counts as an activity that failed.
    pub async fn store(&self, contents: &Contents<'_>, origin: Origin) -> Result<(), Unavailable> {
        let envelopes = &contents.envelopes;
        let mut panicked = Vec::new();
        let mut open = Vec::from([Range { start: 0, end: envelopes.len() }]);
        while let Some(range) = open.pop() {
            let part = &envelopes[range.clone()];
            match AssertUnwindSafe(self.store_part(part, origin)).catch_unwind().await {
                Ok(stored) => stored?,
                Err(_) if part.len() <= 1 => panicked.extend(part.iter().map(crashed)),
                Err(_) => {
                    error!(activities = part.len(), "storing panicked: storing in halves");
                    let middle = range.start + range.len() / 2;
                    open.extend([middle..range.end, range.start..middle]);
                }
            }
        }
        self.record(panicked, &contents.unreadable, origin).await
    }

    async fn store_part(
        &self,
        envelopes: &[Envelope<'_>],
        origin: Origin,
    ) -> Result<(), Unavailable> {
        if envelopes.is_empty() {
            return Ok(());
        }
        let (items, unreadable) = decode(envelopes);
        let spans = StoreSpans::begin(&self.tracer, &items);
        let mut failed = self.insert(items, origin).await?;
        spans.end(&self.tracer, &failed);
        failed.extend(unreadable);
        self.record(failed, &[], origin).await
    }

    /// Stores the activities that can be stored, and returns the others.
    async fn insert<'a>(
        &self,
        items: Vec<Item<'a>>,
        origin: Origin,
    ) -> Result<Vec<Failed<'a>>, Unavailable> {
        let questions = questions(&items);
        let answers = self.store.resolve(&questions.queries).await?;
        let (assigned, mut failed) = assign(items, &questions, &answers);
        let (news, envelopes): (Vec<_>, Vec<_>) =
            assigned.into_iter().map(|assigned| (assigned.new, assigned.envelope)).unzip();
        let batch_max = self.settings.batch_activities_max;
        for (news, envelopes) in news.chunks(batch_max).zip(envelopes.chunks(batch_max)) {
            let began = Instant::now();
            let stored = bisect::insert(&*self.store, news, origin == Origin::Retries).await?;
            self.metrics.store_seconds.observe(began.elapsed().as_secs_f64());
            self.count(news, &stored);
            for refused in stored.refused {
                let cause = Cause { reason: Reason::RefusedByStore, error: refused.error };
                let failure = if refused.is_permanent {
                    Failure::Permanent(cause)
                } else {
                    Failure::Transient(cause)
                };
                let envelope = envelopes.iter().find(|envelope| envelope.id == refused.id);
                failed.extend(envelope.map(|envelope| Failed {
                    envelope: envelope.clone(),
                    member_email: None,
                    failure,
                }));
            }
        }
        Ok(failed)
    }

    fn count(&self, news: &[NewActivity<'_>], stored: &Stored) {
        self.metrics.batch_activities.observe(news.len() as f64);
        self.metrics.stored.inc_by(stored.inserted.stored);
        self.metrics.replaced.inc_by(stored.inserted.replaced);
        self.metrics.duplicates.inc_by(stored.inserted.duplicates);
        let is_refused =
            |new: &&NewActivity<'_>| stored.refused.iter().any(|refused| refused.id == new.id);
        let accepted = news.iter().filter(|new| !is_refused(new));
        self.traffic_counters.add_stored(accepted.map(|new| new.webhook_id));
        let now = Timestamp::now();
        for new in news {
            self.metrics.receipt_to_row_seconds.observe(now.seconds_since(new.received_at));
        }
    }

    /// Records failures in the store: as waiting retries, or as dead letters.
    pub async fn record(
        &self,
        failed: Vec<Failed<'_>>,
        unreadable: &[Unreadable<'_>],
        origin: Origin,
    ) -> Result<(), Unavailable> {
        if failed.is_empty() && unreadable.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let mut usage = self.retry_room.usage(&*self.store).await?;
        let bytes_max = self.settings.retries_bytes_max;
        let mut retries = Vec::new();
        let mut dead: Vec<DeadLetter> = Vec::new();
        for Failed { envelope, member_email, failure } in failed {
            let webhook = envelope.webhook_id;
            let bytes = envelope.activity.len() as u64;
            let has_room = origin == Origin::Retries || usage.has_room(webhook, bytes, bytes_max);
            match settlement(failure, envelope.attempt, &self.settings.retry_schedule, has_room) {
                Settlement::DeadLetter(cause) => {
                    dead.push(dead_letter::of_envelope(&envelope, &cause, now));
                }
                Settlement::Retry(delay, cause) => {
                    if origin == Origin::Queue {
                        usage.add(webhook, bytes);
                    }
                    retries.push(waiting(&envelope, member_email, delay, cause));
                }
            }
        }
        dead.extend(unreadable.iter().map(|unreadable| {
            dead_letter::of_unreadable(unreadable.bytes, unreadable.error.clone(), now)
        }));
        drop(usage);
        self.store.record_failures(&retries, &dead).await?;
        self.report(&retries, &dead);
        Ok(())
    }

    fn report(&self, retries: &[WaitingRetry], dead: &[DeadLetter]) {
        for retry in retries {
            self.metrics.retried.with_label_values(&[retry.reason.as_str()]).inc();
            info!(
                activity = %retry.id,
                webhook = %retry.webhook_id,
                attempt = retry.attempt.saturating_sub(1),
                trace = retry.traceparent.map(tracing::field::display),
                reason = %retry.reason,
                delay_seconds = retry.delay.as_secs_f64(),
                "activity scheduled for retry"
            );
        }
        for letter in dead {
            self.metrics.dead_lettered.with_label_values(&[letter.reason.as_str()]).inc();
            warn!(
                activity = %letter.id,
                webhook = letter.webhook_id.map(tracing::field::display),
                attempt = letter.attempts,
                trace = letter.traceparent,
                reason = %letter.reason,
                error = letter.error,
                "activity dead-lettered"
            );
        }
        self.traffic_counters.add_dead(dead.iter().filter_map(|letter| letter.webhook_id));
    }
}

fn crashed<'a>(envelope: &Envelope<'a>) -> Failed<'a> {
    let error = "storing the activity crashed its task: this is a bug".to_owned();
    Failed {
        envelope: envelope.clone(),
        member_email: None,
        failure: Failure::Transient(Cause { reason: Reason::PoisonMessage, error }),
    }
}

fn waiting(
    envelope: &Envelope<'_>,
    member_email: Option<Email>,
    delay: Duration,
    cause: Cause,
) -> WaitingRetry {
    WaitingRetry {
        id: envelope.id,
        webhook_id: envelope.webhook_id,
        member_email,
        reason: cause.reason,
        error: cause.error,
        attempt: envelope.attempt.saturating_add(1),
        delay,
        received_at: envelope.received_at,
        traceparent: envelope.traceparent,
        activity: envelope.activity.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ORDINARY, ScriptedStore, envelope, storer};

    const PANICS: &str = r#"{"title":"panics","startTime":"2024-08-03T11:30:00Z"}"#;

    #[tokio::test]
    async fn an_activity_that_panics_fails_alone_and_its_neighbours_are_stored() {
        let store = Arc::new(ScriptedStore::default());
        let envelopes: Vec<_> =
            (0..100).map(|id| envelope(id, if id == 42 { PANICS } else { ORDINARY })).collect();
        let contents = Contents { envelopes, unreadable: Vec::new() };
        let stored = storer(store.clone()).store(&contents, Origin::Queue).await;
        assert_eq!(stored, Ok(()));
        assert_eq!(store.stored(), (0..100).filter(|id| *id != 42).collect::<Vec<_>>());
        let retries = store.retries.lock().expect("the lock should not be poisoned");
        assert_eq!(retries.len(), 1);
        assert_eq!((retries[0].reason, retries[0].attempt), (Reason::PoisonMessage, 2));
    }

    #[tokio::test]
    async fn an_invalid_activity_becomes_a_dead_letter_and_unreadable_bytes_too() {
        let store = Arc::new(ScriptedStore::default());
        let unreadable = Unreadable { bytes: b"\xff", error: "not JSON".into() };
        let contents =
            Contents { envelopes: vec![envelope(1, "{}")], unreadable: vec![unreadable] };
        let stored = storer(store.clone()).store(&contents, Origin::Queue).await;
        assert_eq!(stored, Ok(()));
        let dead = store.dead.lock().expect("the lock should not be poisoned");
        assert_eq!(dead.len(), 2);
        assert!(dead.iter().all(|letter| letter.reason == Reason::Unreadable));
    }
}
