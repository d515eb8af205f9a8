//! Failures of an activity after its 202, and their settlement.
//!
//! Invariant: only [`settlement`] turns a [`Failure`] into a [`Settlement`].

pub mod retry;

use std::error::Error;
use std::time::Duration;

use crate::names::stable_names;
use retry::RetrySchedule;

/// The failure to store an activity.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// No attempt can succeed: dead-letter the activity at once.
    Permanent(Cause),
    /// An error of this activity that can pass: follow the retry schedule, then dead-letter it.
    Transient(Cause),
    /// An error of the environment: hold the activity, without counting an attempt.
    Unavailable(Unavailable),
    /// The worker is stopping: requeue the activity.
    Stopping,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub reason: Reason,
    /// For people; never quotes the payload.
    pub error: String,
}

/// An engine is unreachable, read-only, full or out of connections.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Formats an error and its sources in one line: `can't use /srv/trailpad: Permission denied`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

stable_names! {
    /// The reason for a retry or a dead letter, as `dead-letter list` and the metrics show it.
    pub enum Reason {
        /// The message or its activity can't be parsed.
        Unreadable = "unreadable",
        /// `memberEmail` is not a member of the workspace.
        UnknownMember = "unknown-member",
        /// The store does not know the webhook.
        UnknownWebhook = "unknown-webhook",
        /// The store refused this activity and accepted the others of its batch.
        RefusedByStore = "refused-by-store",
        /// The retry queue was full.
        RetriesFull = "retries-full",
        /// Redelivered repeatedly without being settled, also in isolated sessions.
        PoisonMessage = "poison-message",
        /// The broker dead-lettered the message after too many deliveries.
        DeliveryLimit = "delivery-limit",
        /// The broker dead-lettered the message because of its age. Only a policy that an operator
        /// sets on the queue does that.
        ExpiredInQueue = "expired-in-queue",
        /// The broker dead-lettered the message because the queue was over its length limit.
        QueueOverflow = "queue-overflow",
        /// The broker dead-lettered the message for another reason, or without one.
        DeadLetteredByBroker = "dead-lettered-by-broker",
    }
}

/// The treatment of a failed activity.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Publish to the dead-letter queue.
    DeadLetter(Cause),
    /// Publish to the retry queue with this delay, as the next attempt.
    Retry(Duration, Cause),
    /// Keep the message unacknowledged and try again, without counting an attempt.
    Hold(Unavailable),
    /// Return the message to its queue unchanged.
    Requeue,
}

/// Decides the settlement of a failure in attempt number `attempt`, from 1.
pub fn settlement(failure: Failure, attempt: u32, schedule: &RetrySchedule) -> Settlement {
    match failure {
        Failure::Permanent(cause) => Settlement::DeadLetter(cause),
        Failure::Transient(cause) => match schedule.delay_after(attempt) {
            Some(delay) => Settlement::Retry(delay, cause),
            None => Settlement::DeadLetter(cause),
        },
        Failure::Unavailable(unavailable) => Settlement::Hold(unavailable),
        Failure::Stopping => Settlement::Requeue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Cause {
        Cause { reason: Reason::UnknownMember, error: "no such member".into() }
    }

    #[test]
    fn a_transient_failure_follows_the_schedule_and_then_becomes_a_dead_letter() {
        let schedule = RetrySchedule::default();
        let settle = |attempt| settlement(Failure::Transient(cause()), attempt, &schedule);
        assert_eq!(settle(1), Settlement::Retry(Duration::from_secs(10), cause()));
        assert_eq!(settle(3), Settlement::Retry(Duration::from_secs(600), cause()));
        assert_eq!(settle(4), Settlement::DeadLetter(cause()));
    }

    #[test]
    fn a_permanent_failure_becomes_a_dead_letter_at_once() {
        let settled = settlement(Failure::Permanent(cause()), 1, &RetrySchedule::default());
        assert_eq!(settled, Settlement::DeadLetter(cause()));
    }

    #[test]
    fn outages_and_shutdowns_never_count_as_attempts() {
        let schedule = RetrySchedule::default();
        let unavailable = || Unavailable("connection refused".into());
        for attempt in [1, 4, 1_000] {
            assert_eq!(
                settlement(Failure::Unavailable(unavailable()), attempt, &schedule),
                Settlement::Hold(unavailable())
            );
            assert_eq!(settlement(Failure::Stopping, attempt, &schedule), Settlement::Requeue);
        }
    }
}
