//! Suspects: messages that were delivered again and again without being settled. One of them may
//! end every worker that touches it, so it must die alone.

use tracing::warn;
use trailpad_common::envelope::{self, Envelope, Unreadable};
use trailpad_common::failure::{Cause, Failure, Reason};
use trailpad_common::ports::{Delivery, Destination, MessageKind};

use crate::lane::Lane;
use crate::outbox::{Interrupted, Outbox, send};
use crate::session::{SUSPECT_REDELIVERIES, Session};

/// A single activity delivered so often has had its worker end, with nothing else in hand, often
/// enough.
const CONVICTED_REDELIVERIES: u32 = 2 * SUSPECT_REDELIVERIES;

/// What to do with a suspect. Pure.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It holds several activities: each becomes a message of its own.
    Split,
    /// It is tried with nothing else in hand.
    TryAlone,
    /// It was tried often enough.
    Convict,
}

fn judge(activities: usize, redeliveries: u32) -> Verdict {
    match (activities, redeliveries) {
        (2.., _) => Verdict::Split,
        (_, CONVICTED_REDELIVERIES..) => Verdict::Convict,
        _ => Verdict::TryAlone,
    }
}

/// Deals with a suspect, with nothing else in hand.
pub async fn deal_with(suspect: Delivery, lane: &mut Lane, session: &Session) {
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
        Verdict::Convict => {
            let sent_on = convict(&suspect.body, redeliveries, lane).await;
            settle(suspect, sent_on).await;
        }
        Verdict::TryAlone => {
            lane.work(vec![suspect], session).await;
        }
    }
}

/// Publishes each activity as a message of its own.
async fn split(message: &[u8], lane: &mut Lane) -> Result<(), Interrupted> {
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
async fn convict(message: &[u8], redeliveries: u32, lane: &mut Lane) -> Result<(), Interrupted> {
    let error = format!("its worker ended {redeliveries} times while it was in hand");
    let cause = Cause { reason: Reason::EndsItsWorker, error };
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
    lane: &mut Lane,
) -> Result<(), Interrupted> {
    let Lane { context, publisher } = lane;
    let outbox = Outbox::sort(failed, unreadable, &context.settings.retry_schedule);
    let outbox = outbox.map_err(|_| Interrupted)?;
    outbox.publish(&mut **publisher, &context.metrics, &context.lifecycle).await
}

async fn settle(suspect: Delivery, sent_on: Result<(), Interrupted>) {
    match sent_on {
        Ok(()) => suspect.ack().await,
        Err(Interrupted) => suspect.hand_back().await,
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
        use Verdict::{Convict, TryAlone};
        assert_eq!(verdicts, [TryAlone, TryAlone, TryAlone, Convict, Convict]);
    }
}
