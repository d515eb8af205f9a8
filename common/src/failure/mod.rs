//! Failures of an activity after its 202, and their settlement.
//!
//! Invariant: only [`settlement`] turns a [`Failure`] into a [`Settlement`].

pub mod retry;

use std::error::Error;
use std::time::Duration;

use crate::names::stable_names;
use retry::RetrySchedule;

/// The failure of one activity. A failure of the whole batch is [`Unavailable`].
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// No attempt can succeed: dead-letter the activity at once.
    Permanent(Cause),
    /// An error that can pass: follow the retry schedule, then dead-letter the activity.
    Transient(Cause),
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
        /// The webhook had too many waiting retries.
        RetriesFull = "retries-full",
        /// Its worker crashed in every trial that processed it alone.
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
    DeadLetter(Cause),
    /// Try again after the delay.
    Retry(Duration, Cause),
}

/// Decides the settlement of a failure in attempt number `attempt`, from 1.
///
/// `has_room` is `false` if the webhook has as many waiting retries as it may.
pub fn settlement(
    failure: Failure,
    attempt: u32,
    schedule: &RetrySchedule,
    has_room: bool,
) -> Settlement {
    match failure {
        Failure::Permanent(cause) => Settlement::DeadLetter(cause),
        Failure::Transient(cause) => match schedule.delay_after(attempt) {
            Some(delay) if has_room => Settlement::Retry(delay, cause),
            Some(_) => Settlement::DeadLetter(Cause {
                reason: Reason::RetriesFull,
                error: format!("too many retries of the webhook are waiting; {}", cause.error),
            }),
            None => Settlement::DeadLetter(cause),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Cause {
        Cause { reason: Reason::UnknownMember, error: "no such member".into() }
    }

    fn settle(failure: Failure, attempt: u32, has_room: bool) -> Settlement {
        settlement(failure, attempt, &RetrySchedule::default(), has_room)
    }

    #[test]
    fn a_transient_failure_follows_the_schedule_and_then_becomes_a_dead_letter() {
        let settle = |attempt| settle(Failure::Transient(cause()), attempt, true);
        assert_eq!(settle(1), Settlement::Retry(Duration::from_secs(10), cause()));
        assert_eq!(settle(3), Settlement::Retry(Duration::from_secs(600), cause()));
        assert_eq!(settle(4), Settlement::DeadLetter(cause()));
    }

    #[test]
    fn a_permanent_failure_becomes_a_dead_letter_at_once() {
        assert_eq!(settle(Failure::Permanent(cause()), 1, true), Settlement::DeadLetter(cause()));
    }

    #[test]
    fn without_room_a_retry_becomes_a_dead_letter_that_keeps_its_cause() {
        let Settlement::DeadLetter(full) = settle(Failure::Transient(cause()), 1, false) else {
            panic!("there is no room")
        };
        assert_eq!(full.reason, Reason::RetriesFull);
        assert!(full.error.contains("no such member"), "{}", full.error);
        // Out of attempts, the cause itself is the reason.
        assert_eq!(settle(Failure::Transient(cause()), 4, false), Settlement::DeadLetter(cause()));
    }
}
