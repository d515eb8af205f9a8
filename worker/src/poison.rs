//! Suspects: messages that were delivered again and again without being settled. One of them may
//! end every worker that touches it, so it must die alone.

use tracing::warn;
use trailpad_common::failure::{Cause, Failure, Reason};
use trailpad_common::queue::envelope::{self, Envelope, Unreadable};
use trailpad_common::queue::{Delivery, Destination, MessageKind};

use crate::batch_processor::BatchProcessor;
use crate::reroute::{FailureRouter, Stopping, send};
use crate::session::{SUSPECTED_REDELIVERIES, Session};

/// A single activity delivered so often has had its worker end, with nothing else in hand, often
/// enough.
const POISON_REDELIVERIES: u32 = 2 * SUSPECTED_REDELIVERIES;

/// What to do with a suspect. Pure.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It holds several activities: each becomes a message of its own.
    Split,
    /// It is tried with nothing else in hand.
    RetryAlone,
    /// It was tried often enough.
    DeadLetterIt,
}

fn judge(activities: usize, redeliveries: u32) -> Verdict {
    match (activities, redeliveries) {
        (2.., _) => Verdict::Split,
        (_, POISON_REDELIVERIES..) => Verdict::DeadLetterIt,
        _ => Verdict::RetryAlone,
    }
}

/// Deals with a suspect, with nothing else in hand.
pub async fn handle(suspect: Delivery, lane: &mut BatchProcessor, session: &Session) {
    let activities = match suspect.kind {
        MessageKind::Activities => envelope::read(&suspect.body).len(),
        MessageKind::DeadLetters | MessageKind::Unreadable => 1,
    };
    let redeliveries = suspect.redeliveries;
    let verdict = judge(activities, redeliveries);
    warn!(activities, redeliveries, ?verdict, "a message was delivered again and again");
    match verdict {
        Verdict::Split => {
            let sent_on = split(&suspect.body, lane).await;
            settle(suspect, sent_on).await;
        }
        Verdict::DeadLetterIt => {
            let sent_on = convict(&suspect.body, redeliveries, lane).await;
            settle(suspect, sent_on).await;
        }
        Verdict::RetryAlone => {
            lane.work(vec![suspect], session).await;
        }
    }
}

/// Publishes each activity as a message of its own.
async fn split(message: &[u8], lane: &mut BatchProcessor) -> Result<(), Stopping> {
    let mut unreadable = Vec::new();
    for element in envelope::read(message) {
        match element {
            Ok(envelope) => {
                let (single, lifecycle) = (envelope::single(&envelope), &lane.context.lifecycle);
                send(
                    &mut *lane.publisher,
                    Destination::Activities,
                    MessageKind::Activities,
                    &single,
                    lifecycle,
                )
                .await?;
            }
            Err(broken) => unreadable.push(broken),
        }
    }
    publish(Vec::new(), &unreadable, lane).await
}

/// Makes a dead letter of an activity that ends its workers.
async fn convict(
    message: &[u8],
    redeliveries: u32,
    lane: &mut BatchProcessor,
) -> Result<(), Stopping> {
    let error = format!("its worker ended {redeliveries} times while it was in hand");
    let cause = Cause { reason: Reason::PoisonMessage, error };
    let (mut failed, mut unreadable) = (Vec::new(), Vec::new());
    for element in envelope::read(message) {
        match element {
            Ok(envelope) => failed.push((envelope, Failure::Permanent(cause.clone()))),
            Err(broken) => unreadable.push(broken),
        }
    }
    publish(failed, &unreadable, lane).await
}

async fn publish(
    failed: Vec<(Envelope<'_>, Failure)>,
    unreadable: &[Unreadable<'_>],
    lane: &mut BatchProcessor,
) -> Result<(), Stopping> {
    let BatchProcessor { context, publisher } = lane;
    let router = FailureRouter::sort(failed, unreadable, &context.settings.retry_schedule);
    let router = router.map_err(|_| Stopping)?;
    router.publish(&mut **publisher, &context.metrics, &context.lifecycle).await
}

async fn settle(suspect: Delivery, sent_on: Result<(), Stopping>) {
    match sent_on {
        Ok(()) => suspect.ack().await,
        Err(Stopping) => suspect.requeue().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_activities_are_split_however_often_they_came() {
        assert_eq!(judge(2, 3), Verdict::Split);
        assert_eq!(judge(500, 19), Verdict::Split);
    }

    #[test]
    fn a_single_one_is_tried_alone_a_few_times_and_then_convicted() {
        let verdicts: Vec<_> = (3..=7).map(|redeliveries| judge(1, redeliveries)).collect();
        use Verdict::{DeadLetterIt, RetryAlone};
        assert_eq!(verdicts, [RetryAlone, RetryAlone, RetryAlone, DeadLetterIt, DeadLetterIt]);
    }
}
