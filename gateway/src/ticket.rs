//! A ticket: how a request learns what became of its activity.
//!
//! It says exactly whether the activity was handed to the queue, so that a sender who waits no
//! longer is told the truth: withdrawn before it was taken, or taken with an unknown outcome.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// What became of an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The queue holds it durably.
    Accepted,
    /// It was never handed to the queue, or the queue certainly has no copy.
    NotAccepted,
    /// It was handed over, and no confirm came.
    Unknown,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;
const ACCEPTED: u8 = 3;
const NOT_ACCEPTED: u8 = 4;
const UNKNOWN: u8 = 5;

/// Shared by a request and the slot that publishes its activity. A future of the outcome.
#[derive(Default)]
pub struct Ticket {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Ticket {
    /// The slot takes the activity; false: its request has withdrawn it.
    pub fn take(&self) -> bool {
        self.change(WAITING, TAKEN).is_ok()
    }

    /// The slot tells what became of it.
    pub fn settle(&self, outcome: Outcome) {
        let settled = match outcome {
            Outcome::Accepted => ACCEPTED,
            Outcome::NotAccepted => NOT_ACCEPTED,
            Outcome::Unknown => UNKNOWN,
        };
        self.state.store(settled, Ordering::Release);
        self.waker.wake();
    }

    /// The slot ends without a word: nobody must wait for it.
    pub fn abandon(&self) {
        if self.change(WAITING, NOT_ACCEPTED).is_ok() || self.change(TAKEN, UNKNOWN).is_ok() {
            self.waker.wake();
        }
    }

    /// The request waits no longer; gives what is known of its activity now.
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
        // Registered before the look, so that no settlement falls between the two.
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
    fn what_is_withdrawn_before_it_is_taken_is_never_published() {
        let ticket = Ticket::default();
        assert_eq!(ticket.withdraw(), Outcome::NotAccepted);
        assert!(!ticket.take());
    }

    #[test]
    fn what_is_withdrawn_after_it_was_taken_has_an_unknown_outcome() {
        let ticket = Ticket::default();
        assert!(ticket.take());
        assert_eq!(ticket.withdraw(), Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_slot_that_ends_without_a_word_leaves_nobody_waiting() {
        let (waiting, taken) = (Ticket::default(), Ticket::default());
        assert!(taken.take());
        waiting.abandon();
        taken.abandon();
        assert_eq!((&waiting).await, Outcome::NotAccepted);
        assert_eq!((&taken).await, Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_settled_outcome_is_told_even_at_the_last_moment() {
        let ticket = Ticket::default();
        assert!(ticket.take());
        ticket.settle(Outcome::Accepted);
        assert_eq!(ticket.withdraw(), Outcome::Accepted);
        assert_eq!((&ticket).await, Outcome::Accepted);
    }
}
