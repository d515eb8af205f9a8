//! Poison messages: a payload that crashes every worker that processes it.
//!
//! A message that is redelivered repeatedly without being settled is suspected. It is processed in
//! isolation, so that no other message becomes a dead letter with it.

use tracing::warn;
use trailpad_common::failure::{Cause, Failure, Reason};
use trailpad_common::queue::envelope::{self, Envelope, Unreadable};
use trailpad_common::queue::{Delivery, Destination, MessageKind};

use crate::batch_processor::BatchProcessor;
use crate::reroute::{FailureRouter, Stopping, send};
use crate::session::{SUSPECTED_REDELIVERIES, Session};

/// After this many redeliveries, a message with a single activity is treated as poison.
const POISON_REDELIVERIES: u32 = 2 * SUSPECTED_REDELIVERIES;

#[derive(Debug, PartialEq)]
enum Verdict {
    /// The message holds several activities: publish each as a separate message.
    Split,
    /// Try to store it while no other message is unsettled.
    RetryAlone,
    DeadLetter,
}

fn judge(activities: usize, redeliveries: u32) -> Verdict {
    match (activities, redeliveries) {
        (2.., _) => Verdict::Split,
        (_, POISON_REDELIVERIES..) => Verdict::DeadLetter,
        _ => Verdict::RetryAlone,
    }
}

/// Processes and settles a suspected message. No other message may be unsettled.
pub async fn handle(suspected: Delivery, processor: &mut BatchProcessor, session: &Session) {
    let activities = match suspected.kind {
        MessageKind::Activities => envelope::read(&suspected.body).len(),
        MessageKind::DeadLetters | MessageKind::Unreadable => 1,
    };
    let redeliveries = suspected.redeliveries;
    let verdict = judge(activities, redeliveries);
    warn!(activities, redeliveries, ?verdict, "message redelivered repeatedly");
    match verdict {
        Verdict::Split => {
            let published = split(&suspected.body, processor).await;
            settle(suspected, published).await;
        }
        Verdict::DeadLetter => {
            let published = dead_letter(&suspected.body, redeliveries, processor).await;
            settle(suspected, published).await;
        }
        Verdict::RetryAlone => {
            processor.process(vec![suspected], session).await;
        }
    }
}

/// Publishes each activity as a separate message.
async fn split(message: &[u8], processor: &mut BatchProcessor) -> Result<(), Stopping> {
    let mut unreadable = Vec::new();
    for element in envelope::read(message) {
        match element {
            Ok(envelope) => {
                send(
                    &mut *processor.publisher,
                    Destination::Activities,
                    MessageKind::Activities,
                    &envelope::single(&envelope),
                    &processor.context.lifecycle,
                )
                .await?;
            }
            Err(element) => unreadable.push(element),
        }
    }
    publish(Vec::new(), &unreadable, processor).await
}

/// Publishes the activity of a poison message as a dead letter.
async fn dead_letter(
    message: &[u8],
    redeliveries: u32,
    processor: &mut BatchProcessor,
) -> Result<(), Stopping> {
    let error = format!(
        "redelivered {redeliveries} times without being settled; its worker may have crashed each time"
    );
    let cause = Cause { reason: Reason::PoisonMessage, error };
    let mut failed = Vec::new();
    let mut unreadable = Vec::new();
    for element in envelope::read(message) {
        match element {
            Ok(envelope) => failed.push((envelope, Failure::Permanent(cause.clone()))),
            Err(element) => unreadable.push(element),
        }
    }
    publish(failed, &unreadable, processor).await
}

async fn publish(
    failed: Vec<(Envelope<'_>, Failure)>,
    unreadable: &[Unreadable<'_>],
    processor: &mut BatchProcessor,
) -> Result<(), Stopping> {
    let BatchProcessor { context, publisher } = processor;
    let router = FailureRouter::sort(failed, unreadable, &context.settings.retry_schedule);
    let router = router.map_err(|_| Stopping)?;
    router.publish(&mut **publisher, &context.metrics, &context.lifecycle).await
}

async fn settle(suspected: Delivery, published: Result<(), Stopping>) {
    match published {
        Ok(()) => suspected.ack().await,
        Err(Stopping) => suspected.requeue().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_several_activities_is_split_whatever_its_redeliveries() {
        assert_eq!(judge(2, 3), Verdict::Split);
        assert_eq!(judge(500, 19), Verdict::Split);
    }

    #[test]
    fn a_single_activity_is_retried_alone_and_becomes_a_dead_letter_after_six_redeliveries() {
        let verdicts: Vec<_> = (3..=7).map(|redeliveries| judge(1, redeliveries)).collect();
        use Verdict::{DeadLetter, RetryAlone};
        assert_eq!(verdicts, [RetryAlone, RetryAlone, RetryAlone, DeadLetter, DeadLetter]);
    }
}
