//! The failure router: publishes failed activities to a retry queue or the dead-letter queue. Their
//! original messages may be acknowledged only after that.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};
use trailpad_common::failure::retry::RetrySchedule;
use trailpad_common::failure::{Cause, Failure, Reason, Settlement, Unavailable, settlement};
use trailpad_common::queue::dead_letter;
use trailpad_common::queue::envelope::{Batch, Envelope, Unreadable};
use trailpad_common::queue::{Destination, MessageKind, PublishError, Publisher};
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{LifecycleWatch, Phase};
use trailpad_common::timestamp::Timestamp;

use crate::metrics::Metrics;

/// Well below the gateway's bound for a message.
const MESSAGE_BYTES_MAX: usize = 512 * 1_024;
const PUBLISH_BACKOFF_FIRST: Duration = Duration::from_millis(100);
const PUBLISH_BACKOFF_MOST: Duration = Duration::from_secs(5);

/// Failed activities, grouped by destination. Activities with the same delay and reason share a
/// message.
#[derive(Default)]
pub struct FailureRouter<'a> {
    retries: BTreeMap<(Duration, &'static str), Vec<(Envelope<'a>, Cause)>>,
    dead: Vec<(Envelope<'a>, Cause)>,
    unreadable: Vec<&'a [u8]>,
}

/// Reasons why a batch as a whole cannot be settled now.
#[derive(Debug, PartialEq)]
pub enum Blocked {
    /// The store is unavailable.
    Hold(Unavailable),
    /// The worker is stopping.
    Requeue,
}

/// The worker stops before every message was published.
#[derive(Debug)]
pub struct Stopping;

impl<'a> FailureRouter<'a> {
    /// Groups failed activities by their settlements.
    pub fn sort(
        failed: Vec<(Envelope<'a>, Failure)>,
        unreadable: &[Unreadable<'a>],
        schedule: &RetrySchedule,
    ) -> Result<Self, Blocked> {
        let mut router =
            Self { unreadable: unreadable.iter().map(|u| u.bytes).collect(), ..Self::default() };
        for (envelope, failure) in failed {
            match settlement(failure, envelope.attempt, schedule) {
                Settlement::DeadLetter(cause) => router.dead.push((envelope, cause)),
                Settlement::Retry(delay, cause) => {
                    let group = router.retries.entry((delay, cause.reason.as_str())).or_default();
                    group.push((envelope, cause));
                }
                Settlement::Hold(unavailable) => return Err(Blocked::Hold(unavailable)),
                Settlement::Requeue => return Err(Blocked::Requeue),
            }
        }
        Ok(router)
    }

    /// Publishes every message and waits for the confirms. An activity that a retry queue refuses
    /// becomes a dead letter at once.
    pub async fn publish(
        mut self,
        publisher: &mut dyn Publisher,
        metrics: &Metrics,
        lifecycle: &LifecycleWatch,
    ) -> Result<(), Stopping> {
        for ((delay, reason), group) in std::mem::take(&mut self.retries) {
            for message in retry_messages(&group) {
                let sent = send(
                    publisher,
                    Destination::Retry(delay),
                    MessageKind::Activities,
                    &message.body,
                    lifecycle,
                )
                .await?;
                let envelopes = &group[message.range];
                match sent {
                    Sent::Confirmed => {
                        envelopes
                            .iter()
                            .for_each(|(envelope, cause)| log_retry(envelope, cause, delay));
                        metrics.retried.with_label_values(&[reason]).inc_by(envelopes.len() as u64);
                    }
                    Sent::Refused => self.dead.extend(envelopes.iter().map(retries_full)),
                }
            }
        }
        for bytes in self.unreadable {
            send(publisher, Destination::Dead, MessageKind::Unreadable, bytes, lifecycle).await?;
            metrics.dead_lettered.with_label_values(&[Reason::Unreadable.as_str()]).inc();
            warn!(reason = %Reason::Unreadable, bytes = bytes.len(), "message dead-lettered");
        }
        for chunk in self.dead.chunks(DEAD_LETTERS_PER_MESSAGE) {
            let dead = chunk.iter().map(|(envelope, cause)| (envelope, cause));
            let body = dead_letter::write(dead, Timestamp::now());
            send(publisher, Destination::Dead, MessageKind::DeadLetters, &body, lifecycle).await?;
            for (envelope, cause) in chunk {
                metrics.dead_lettered.with_label_values(&[cause.reason.as_str()]).inc();
                log_dead(envelope, cause);
            }
        }
        Ok(())
    }
}

/// Small, because the body of each activity may be large.
const DEAD_LETTERS_PER_MESSAGE: usize = 32;

struct RetryMessage {
    body: Vec<u8>,
    /// Indices of its envelopes in the group.
    range: std::ops::Range<usize>,
}

/// Packs envelopes into messages of a bounded size, with their attempts incremented.
fn retry_messages(group: &[(Envelope<'_>, Cause)]) -> Vec<RetryMessage> {
    let mut messages = Vec::new();
    let mut batch = Batch::with_capacity(1_024);
    let mut start = 0;
    for (at, (envelope, _)) in group.iter().enumerate() {
        let bytes = batch.bytes() + envelope.activity.len() + Envelope::OVERHEAD_BYTES;
        if !batch.is_empty() && bytes > MESSAGE_BYTES_MAX {
            let full = std::mem::replace(&mut batch, Batch::with_capacity(1_024));
            messages.push(RetryMessage { body: full.finish(), range: start..at });
            start = at;
        }
        batch.push(&Envelope { attempt: envelope.attempt.saturating_add(1), ..envelope.clone() });
    }
    if !batch.is_empty() {
        messages.push(RetryMessage { body: batch.finish(), range: start..group.len() });
    }
    messages
}

fn retries_full<'a>((envelope, cause): &(Envelope<'a>, Cause)) -> (Envelope<'a>, Cause) {
    let error = format!("the retry queue was full; {}", cause.error);
    (envelope.clone(), Cause { reason: Reason::RetriesFull, error })
}

#[derive(Debug, PartialEq)]
pub enum Sent {
    Confirmed,
    /// The queue holds no copy.
    Refused,
}

/// Publishes a message until the queue confirms it: a second copy is harmless, a lost message is
/// not. Only a retry queue may refuse, because only then another destination exists.
pub async fn send(
    publisher: &mut dyn Publisher,
    to: Destination,
    kind: MessageKind,
    body: &[u8],
    lifecycle: &LifecycleWatch,
) -> Result<Sent, Stopping> {
    let mut backoff = Backoff::new(PUBLISH_BACKOFF_FIRST, PUBLISH_BACKOFF_MOST);
    loop {
        let published = tokio::select! {
            published = publisher.publish(to, kind, body) => published,
            () = lifecycle.reached(Phase::Stopping) => return Err(Stopping),
        };
        match published {
            Ok(()) => return Ok(Sent::Confirmed),
            Err(PublishError::Refused(_)) if matches!(to, Destination::Retry(_)) => {
                return Ok(Sent::Refused);
            }
            Err(error) => warn!(%error, "publish failed; retrying"),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            () = lifecycle.reached(Phase::Stopping) => return Err(Stopping),
        }
    }
}

fn log_retry(envelope: &Envelope<'_>, cause: &Cause, delay: Duration) {
    info!(
        activity = %envelope.id,
        webhook = %envelope.webhook_id,
        attempt = envelope.attempt,
        trace = envelope.traceparent.map(tracing::field::display),
        reason = %cause.reason,
        delay_seconds = delay.as_secs_f64(),
        "activity scheduled for retry"
    );
}

fn log_dead(envelope: &Envelope<'_>, cause: &Cause) {
    warn!(
        activity = %envelope.id,
        webhook = %envelope.webhook_id,
        attempt = envelope.attempt,
        trace = envelope.traceparent.map(tracing::field::display),
        reason = %cause.reason,
        error = cause.error,
        "activity dead-lettered"
    );
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use trailpad_common::id::{ActivityId, WebhookId};
    use trailpad_common::runtime::lifecycle::Lifecycle;

    use super::*;

    /// Records the messages that it publishes. Its retry queues may be full.
    #[derive(Default)]
    struct RecordingPublisher {
        published: Vec<(Destination, MessageKind, Vec<u8>)>,
        retries_are_full: bool,
        failures_left: usize,
    }

    #[async_trait]
    impl Publisher for RecordingPublisher {
        async fn publish(
            &mut self,
            to: Destination,
            kind: MessageKind,
            body: &[u8],
        ) -> Result<(), PublishError> {
            if self.retries_are_full && matches!(to, Destination::Retry(_)) {
                return Err(PublishError::Refused("full".into()));
            }
            if self.failures_left > 0 {
                self.failures_left -= 1;
                return Err(PublishError::Unknown("connection lost".into()));
            }
            self.published.push((to, kind, body.to_vec()));
            Ok(())
        }
    }

    fn failed(attempt: u32) -> (Envelope<'static>, Failure) {
        let received_at = Timestamp::from_unix_micros(0);
        let envelope = Envelope {
            id: ActivityId::received_at(received_at),
            webhook_id: WebhookId::generate(),
            received_at,
            attempt,
            traceparent: None,
            activity: "{}",
        };
        let cause = Cause { reason: Reason::UnknownMember, error: "no such member".into() };
        (envelope, Failure::Transient(cause))
    }

    async fn publish(
        publisher: &mut RecordingPublisher,
        failed: Vec<(Envelope<'_>, Failure)>,
    ) -> Metrics {
        let metrics = Metrics::register(&prometheus::Registry::new())
            .expect("registering metrics in a new registry should succeed");
        let lifecycle = Lifecycle::default();
        let schedule = RetrySchedule::default();
        let router =
            FailureRouter::sort(failed, &[], &schedule).expect("the batch should not be blocked");
        router
            .publish(publisher, &metrics, &lifecycle.watch())
            .await
            .expect("publishing should complete");
        metrics
    }

    #[tokio::test]
    async fn activities_with_the_same_delay_and_reason_share_a_retry_message() {
        let mut publisher = RecordingPublisher::default();
        publish(&mut publisher, vec![failed(1), failed(2), failed(1)]).await;
        let attempts_of = |body: &[u8]| -> Vec<u32> {
            trailpad_common::queue::envelope::read(body)
                .into_iter()
                .map(|envelope| envelope.expect("the envelope should be readable").attempt)
                .collect()
        };
        let published: Vec<_> =
            publisher.published.iter().map(|(to, _, body)| (*to, attempts_of(body))).collect();
        let retry = |seconds| Destination::Retry(Duration::from_secs(seconds));
        assert_eq!(published, [(retry(10), vec![2, 2]), (retry(60), vec![3])]);
    }

    #[tokio::test]
    async fn an_activity_that_a_full_retry_queue_refuses_becomes_a_dead_letter_at_once() {
        let mut publisher =
            RecordingPublisher { retries_are_full: true, ..RecordingPublisher::default() };
        let metrics = publish(&mut publisher, vec![failed(1), failed(1)]).await;
        let [(to, kind, body)] = &publisher.published[..] else {
            panic!("exactly one message should be published")
        };
        assert_eq!((*to, *kind), (Destination::Dead, MessageKind::DeadLetters));
        let text = String::from_utf8_lossy(body);
        assert_eq!(text.matches("retries-full").count(), 2);
        assert!(text.contains("no such member"), "the original cause should be kept: {text}");
        assert_eq!(metrics.dead_lettered.with_label_values(&["retries-full"]).get(), 2);
    }

    #[tokio::test]
    async fn an_unconfirmed_message_is_published_again() {
        let mut publisher =
            RecordingPublisher { failures_left: 2, ..RecordingPublisher::default() };
        publish(&mut publisher, vec![failed(4)]).await;
        assert_eq!(publisher.published.len(), 1);
    }

    #[test]
    fn an_unavailable_store_holds_the_whole_batch() {
        let (envelope, _) = failed(1);
        let unavailable = Unavailable("connection refused".into());
        let failed = vec![failed(1), (envelope, Failure::Unavailable(unavailable.clone()))];
        let blocked = FailureRouter::sort(failed, &[], &RetrySchedule::default()).err();
        assert_eq!(blocked, Some(Blocked::Hold(unavailable)));
    }
}
