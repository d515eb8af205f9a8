//! The router: what has to be published before the messages in hand may be acknowledged.

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

/// A republished message is kept well below the gateway's bound.
const MESSAGE_BYTES_MAX: usize = 512 * 1_024;
const PUBLISH_BACKOFF_FIRST: Duration = Duration::from_millis(100);
const PUBLISH_BACKOFF_MOST: Duration = Duration::from_secs(5);

/// What failed, by where it goes. Activities that fail alike share a message.
#[derive(Default)]
pub struct FailureRouter<'a> {
    retries: BTreeMap<(Duration, &'static str), Vec<(Envelope<'a>, Cause)>>,
    dead: Vec<(Envelope<'a>, Cause)>,
    unreadable: Vec<&'a [u8]>,
}

/// Why the batch stays in hand as a whole.
#[derive(Debug, PartialEq)]
pub enum Blocked {
    /// The environment failed.
    Hold(Unavailable),
    /// The worker is stopping.
    Requeue,
}

/// The worker is stopping before everything was published.
#[derive(Debug)]
pub struct Stopping;

impl<'a> FailureRouter<'a> {
    /// Puts what failed where its settlement says.
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
                    let alike = router.retries.entry((delay, cause.reason.as_str())).or_default();
                    alike.push((envelope, cause));
                }
                Settlement::Hold(unavailable) => return Err(Blocked::Hold(unavailable)),
                Settlement::Requeue => return Err(Blocked::Requeue),
            }
        }
        Ok(router)
    }

    /// Publishes everything, confirmed. What a retry queue refuses is a dead letter at once.
    pub async fn publish(
        mut self,
        publisher: &mut dyn Publisher,
        metrics: &Metrics,
        lifecycle: &LifecycleWatch,
    ) -> Result<(), Stopping> {
        for ((delay, reason), alike) in std::mem::take(&mut self.retries) {
            for message in messages(&alike, 1) {
                let sent = send(
                    publisher,
                    Destination::Retry(delay),
                    MessageKind::Activities,
                    &message.body,
                    lifecycle,
                )
                .await?;
                let envelopes = &alike[message.range];
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
            warn!(reason = %Reason::Unreadable, bytes = bytes.len(), "dead-lettered a message");
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

/// A body may be large, so there are few of them in a message.
const DEAD_LETTERS_PER_MESSAGE: usize = 32;

/// A message made of some of the envelopes.
struct Message {
    body: Vec<u8>,
    range: std::ops::Range<usize>,
}

/// Envelopes in messages of a bounded size, each for its next attempt.
fn messages(alike: &[(Envelope<'_>, Cause)], attempts: u32) -> Vec<Message> {
    let mut messages = Vec::new();
    let (mut batch, mut start) = (Batch::with_capacity(1_024), 0);
    for (at, (envelope, _)) in alike.iter().enumerate() {
        let bytes = batch.bytes() + envelope.activity.len() + Envelope::OVERHEAD_BYTES;
        if !batch.is_empty() && bytes > MESSAGE_BYTES_MAX {
            let full = std::mem::replace(&mut batch, Batch::with_capacity(1_024));
            messages.push(Message { body: full.finish(), range: start..at });
            start = at;
        }
        batch.push(&Envelope {
            attempt: envelope.attempt.saturating_add(attempts),
            ..envelope.clone()
        });
    }
    if !batch.is_empty() {
        messages.push(Message { body: batch.finish(), range: start..alike.len() });
    }
    messages
}

fn retries_full<'a>((envelope, cause): &(Envelope<'a>, Cause)) -> (Envelope<'a>, Cause) {
    let error = format!("its retry queue was full; {}", cause.error);
    (envelope.clone(), Cause { reason: Reason::RetriesFull, error })
}

/// How the queue answered.
#[derive(Debug, PartialEq)]
pub enum Sent {
    Confirmed,
    /// It certainly holds no copy.
    Refused,
}

/// Publishes until the queue confirms: a second copy is harmless, a lost one is not. Only a retry
/// queue may refuse, because only there is another place to go.
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
            Err(error) => warn!(%error, "could not republish; trying again"),
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
        "an activity is retried later"
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
        "dead-lettered an activity"
    );
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use trailpad_common::id::{ActivityId, WebhookId};
    use trailpad_common::runtime::lifecycle::Lifecycle;

    use super::*;

    /// A publisher that remembers what it was given, and whose retry queues may be full.
    #[derive(Default)]
    struct Remembering {
        published: Vec<(Destination, MessageKind, Vec<u8>)>,
        retries_are_full: bool,
        failures_left: usize,
    }

    #[async_trait]
    impl Publisher for Remembering {
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
                return Err(PublishError::Unknown("cut".into()));
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
        let cause = Cause { reason: Reason::UnknownMember, error: "nobody".into() };
        (envelope, Failure::Transient(cause))
    }

    async fn publish(publisher: &mut Remembering, failed: Vec<(Envelope<'_>, Failure)>) -> Metrics {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("fresh registry");
        let (lifecycle, schedule) = (Lifecycle::default(), RetrySchedule::default());
        let router = FailureRouter::sort(failed, &[], &schedule).expect("nothing stays");
        router.publish(publisher, &metrics, &lifecycle.watch()).await.expect("nothing stops it");
        metrics
    }

    #[tokio::test]
    async fn activities_that_fail_alike_share_a_message_as_their_next_attempt() {
        let mut publisher = Remembering::default();
        publish(&mut publisher, vec![failed(1), failed(2), failed(1)]).await;
        let (seconds, attempts): (Vec<_>, Vec<Vec<u32>>) = publisher
            .published
            .iter()
            .map(|(to, _, body)| {
                let read = trailpad_common::queue::envelope::read(body);
                (
                    *to,
                    read.into_iter().map(|envelope| envelope.expect("readable").attempt).collect(),
                )
            })
            .unzip();
        let retry = |seconds| Destination::Retry(Duration::from_secs(seconds));
        assert_eq!(seconds, [retry(10), retry(60)]);
        assert_eq!(attempts, [vec![2, 2], vec![3]]);
    }

    #[tokio::test]
    async fn what_a_full_retry_queue_refuses_is_a_dead_letter_at_once() {
        let mut publisher = Remembering { retries_are_full: true, ..Remembering::default() };
        let metrics = publish(&mut publisher, vec![failed(1), failed(1)]).await;
        let [(to, kind, body)] = &publisher.published[..] else { panic!("one message") };
        assert_eq!((*to, *kind), (Destination::Dead, MessageKind::DeadLetters));
        let text = String::from_utf8_lossy(body);
        assert_eq!(text.matches("retries-full").count(), 2);
        assert!(text.contains("nobody"), "and the cause is kept: {text}");
        assert_eq!(metrics.dead_lettered.with_label_values(&["retries-full"]).get(), 2);
    }

    #[tokio::test]
    async fn what_is_not_confirmed_is_published_again() {
        let mut publisher = Remembering { failures_left: 2, ..Remembering::default() };
        publish(&mut publisher, vec![failed(4)]).await;
        assert_eq!(publisher.published.len(), 1);
    }

    #[test]
    fn a_failure_of_the_environment_keeps_the_whole_batch_in_hand() {
        let (envelope, _) = failed(1);
        let away = Unavailable("away".into());
        let failed = vec![failed(1), (envelope, Failure::Unavailable(away.clone()))];
        let stay = FailureRouter::sort(failed, &[], &RetrySchedule::default()).err();
        assert_eq!(stay, Some(Blocked::Hold(away)));
    }
}
