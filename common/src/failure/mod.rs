//! What can go wrong with an activity after its 202, and what then becomes of it.

pub mod retry;

use std::fmt;
use std::time::Duration;

use retry::RetrySchedule;

/// Why an activity could not be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// No attempt can succeed: a dead letter now.
    Permanent(Cause),
    /// An error of this one activity that may pass: the retry schedule, then a dead letter.
    Transient(Cause),
    /// An error of the environment: hold, and spend no attempt.
    Unavailable(Unavailable),
    /// The worker is stopping: hand back.
    Stopping,
}

/// A reason, and the error in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The stable reason.
    pub reason: Reason,
    /// A sentence that quotes nothing of the payload.
    pub error: String,
}

/// An engine is away, read-only, full or out of connections.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Why a dead letter is dead: stable, shown by `dead-letter list` and by metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The message or its activity can't be read.
    Unreadable,
    /// memberEmail names no member of the workspace.
    UnknownMember,
    /// The store does not know the webhook.
    UnknownWebhook,
    /// The store refused this activity.
    RefusedByStore,
    /// It was to be retried, and its retry queue was full.
    RetriesFull,
    /// Its worker ended each time it was worked, alone.
    PoisonMessage,
    /// The broker gave it up after too many deliveries.
    DeliveryLimit,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Unreadable,
        Self::UnknownMember,
        Self::UnknownWebhook,
        Self::RefusedByStore,
        Self::RetriesFull,
        Self::PoisonMessage,
        Self::DeliveryLimit,
    ];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::UnknownMember => "unknown-member",
            Self::UnknownWebhook => "unknown-webhook",
            Self::RefusedByStore => "refused-by-store",
            Self::RetriesFull => "retries-full",
            Self::PoisonMessage => "poison-message",
            Self::DeliveryLimit => "delivery-limit",
        }
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What becomes of an activity that failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// To the dead-letter queue.
    DeadLetter(Cause),
    /// To the retry queue of this delay, as the next attempt.
    Retry(Duration, Cause),
    /// Keep it and try again: no attempt was spent.
    Hold(Unavailable),
    /// Back to the queue as it is.
    Requeue,
}

/// The one place where a failure becomes a settlement.
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
    fn a_transient_failure_follows_the_schedule_and_then_is_a_dead_letter() {
        let schedule = RetrySchedule::default();
        let settle = |attempt| settlement(Failure::Transient(cause()), attempt, &schedule);
        assert_eq!(settle(1), Settlement::Retry(Duration::from_secs(10), cause()));
        assert_eq!(settle(3), Settlement::Retry(Duration::from_secs(600), cause()));
        assert_eq!(settle(4), Settlement::DeadLetter(cause()));
    }

    #[test]
    fn a_permanent_failure_is_a_dead_letter_at_once() {
        let settled = settlement(Failure::Permanent(cause()), 1, &RetrySchedule::default());
        assert_eq!(settled, Settlement::DeadLetter(cause()));
    }

    #[test]
    fn the_environment_and_a_shutdown_cost_no_attempt_however_often() {
        let schedule = RetrySchedule::default();
        let away = || Unavailable("away".into());
        for attempt in [1, 4, 1_000] {
            assert_eq!(
                settlement(Failure::Unavailable(away()), attempt, &schedule),
                Settlement::Hold(away())
            );
            assert_eq!(settlement(Failure::Stopping, attempt, &schedule), Settlement::Requeue);
        }
    }

    #[test]
    fn every_reason_is_read_back_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.as_str()), Some(reason));
        }
    }
}
