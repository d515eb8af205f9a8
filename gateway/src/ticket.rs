//! A ticket carries the outcome of an activity from the slot that publishes it to its request.
//!
//! Its state shows exactly whether the activity was handed to the queue, so that a request that
//! times out still reports correctly: the activity was withdrawn before a slot took it, or it was
//! taken and its outcome is unknown.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// The result of submitting an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The queue holds it durably.
    Accepted,
    /// The activity was never handed to the queue, or the queue certainly has no copy.
    NotAccepted,
    /// The activity was handed to the queue, and no confirm arrived.
    Unknown,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;
const ACCEPTED: u8 = 3;
const NOT_ACCEPTED: u8 = 4;
const UNKNOWN: u8 = 5;

/// Shared by a request and the slot that publishes its activity. A future of the [`Outcome`].
#[derive(Default)]
pub struct Ticket {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Ticket {
    /// Called by the slot to take the activity. Returns `false` if the request has withdrawn it.
    pub fn take(&self) -> bool {
        self.change(WAITING, TAKEN).is_ok()
    }

    /// Called by the slot to report the outcome.
    pub fn settle(&self, outcome: Outcome) {
        let state = match outcome {
            Outcome::Accepted => ACCEPTED,
            Outcome::NotAccepted => NOT_ACCEPTED,
            Outcome::Unknown => UNKNOWN,
        };
        self.state.store(state, Ordering::Release);
        self.waker.wake();
    }

    /// Called when the slot ends without an outcome, so that no request waits for it.
    pub fn abandon(&self) {
        if self.change(WAITING, NOT_ACCEPTED).is_ok() || self.change(TAKEN, UNKNOWN).is_ok() {
            self.waker.wake();
        }
    }

    /// Called by a request that stops waiting. Returns the outcome as far as it is known now.
    pub fn withdraw(&self) -> Outcome {
        match self.change(WAITING, WITHDRAWN) {
            Ok(_) => Outcome::NotAccepted,
            Err(state) => settled(state).unwrap_or(Outcome::Unknown),
        }
    }

    fn change(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

fn settled(state: u8) -> Option<Outcome> {
    match state {
        ACCEPTED => Some(Outcome::Accepted),
        NOT_ACCEPTED => Some(Outcome::NotAccepted),
        UNKNOWN => Some(Outcome::Unknown),
        _ => None,
    }
}

impl Future for &Ticket {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // Register first: a settlement after the load below then wakes this task.
        self.waker.register(context.waker());
        match settled(self.state.load(Ordering::Acquire)) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_withdrawn_before_it_is_taken_is_never_published() {
        let ticket = Ticket::default();
        assert_eq!(ticket.withdraw(), Outcome::NotAccepted);
        assert!(!ticket.take());
    }

    #[test]
    fn an_activity_withdrawn_after_it_was_taken_has_an_unknown_outcome() {
        let ticket = Ticket::default();
        assert!(ticket.take());
        assert_eq!(ticket.withdraw(), Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_slot_that_ends_early_leaves_no_request_waiting() {
        let waiting = Ticket::default();
        let taken = Ticket::default();
        assert!(taken.take());
        waiting.abandon();
        taken.abandon();
        assert_eq!((&waiting).await, Outcome::NotAccepted);
        assert_eq!((&taken).await, Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_settled_outcome_is_returned_even_to_a_late_withdrawal() {
        let ticket = Ticket::default();
        assert!(ticket.take());
        ticket.settle(Outcome::Accepted);
        assert_eq!(ticket.withdraw(), Outcome::Accepted);
        assert_eq!((&ticket).await, Outcome::Accepted);
    }
}
