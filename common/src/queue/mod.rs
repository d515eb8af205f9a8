//! The queue's port, and the two formats that travel through it.
//!
//! Calls are per message, never per activity, so dynamic dispatch costs nothing measurable. The
//! conformance suite (`tests/tests/conformance`) runs on every engine.

pub mod dead_letter;
pub mod envelope;

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Reason, Unavailable};
use crate::runtime::lifecycle::HealthWatch;

/// What the body of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Envelopes on their way to the store: see [`crate::queue::envelope`].
    Activities,
    /// Dead letters on their way to their table: see [`crate::queue::dead_letter`].
    DeadLetters,
    /// The bytes of a message that nothing here can read; kept as they are.
    Unreadable,
}

impl MessageKind {
    /// The name that travels with the message (AMQP property `type`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activities => "trailpad.activities.v1",
            Self::DeadLetters => "trailpad.dead-letters.v1",
            Self::Unreadable => "trailpad.unreadable.v1",
        }
    }

    /// The kind of this name; what has another is unreadable.
    pub fn named(name: &str) -> Self {
        [Self::Activities, Self::DeadLetters]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .unwrap_or(Self::Unreadable)
    }
}

/// Where a message is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The queue that workers take activities from.
    Activities,
    /// The same queue, after this delay.
    Retry(Duration),
    /// The queue of dead letters.
    Dead,
}

/// A message was not confirmed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// It was never handed to the queue.
    #[error("not accepted by the queue: {0}")]
    NotAccepted(String),
    /// The queue was asked and said no; it holds no copy.
    #[error("refused by the queue: {0}")]
    Refused(String),
    /// It was handed over and nothing came back: the queue may hold it.
    #[error("the queue did not confirm: {0}")]
    Unknown(String),
}

/// Publishes one message at a time.
#[async_trait]
pub trait Publisher: Send {
    /// Publishes a message and waits until the queue holds it durably.
    ///
    /// Takes as long as the queue needs; a caller that can't wait answers its own callers and
    /// keeps waiting here, because an unconfirmed message occupies its publisher.
    async fn publish(
        &mut self,
        to: Destination,
        kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError>;
}

/// A queue, as gateway and worker see it.
#[async_trait]
pub trait Queue: Send + Sync {
    /// A new publisher; it reaches the queue when it is first used.
    fn publisher(&self) -> Box<dyn Publisher>;

    /// Whether publishing is possible now.
    fn publish_health(&self) -> HealthWatch;

    /// Whether consuming is possible now.
    fn consume_health(&self) -> HealthWatch;

    /// Starts taking messages, at most `prefetch` unsettled at a time.
    async fn subscribe(
        &self,
        source: Source,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Unavailable>;

    /// How much waits, for operators: messages, not activities.
    async fn depths(&self) -> Result<Depths, Unavailable>;
}

/// Messages that wait; those in hand are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// For a worker.
    pub activities: u64,
    /// For the time of their next attempt.
    pub retry: u64,
    /// For being moved into the table of dead letters.
    pub dead: u64,
}

/// What a subscription takes messages from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Activities.
    Activities,
    /// Dead letters.
    Dead,
}

/// A stream of messages.
#[async_trait]
pub trait Subscription: Send {
    /// The next message; none after [`Subscription::cancel`], once all that had come were taken.
    ///
    /// # Errors
    /// The stream ended without being asked to: the link is lost, and what is unsettled comes
    /// again.
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable>;

    /// The next message, if one has come already.
    fn next_ready(&mut self) -> Option<Delivery>;

    /// Asks for no more messages; those that have come are still to be taken.
    async fn cancel(&mut self);
}

/// A message in hand. It must be settled: one that is dropped otherwise is logged as a bug, and
/// comes again only when the link is closed.
pub struct Delivery {
    /// What the body is.
    pub kind: MessageKind,
    /// The message.
    pub body: Vec<u8>,
    /// How often it was delivered before without being settled, as far as the broker counts.
    pub redeliveries: u32,
    /// Why the broker itself dead-lettered it, if it did.
    pub broker_reason: Option<Reason>,
    settle: Option<Box<dyn Settle>>,
}

/// Settles one delivery at its engine.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Removes the message from the queue. A lost link is no error: the message comes again, and
    /// storing is idempotent.
    async fn ack(&self);
    /// Gives the message back to the queue as it is.
    async fn requeue(&self);
}

impl Delivery {
    /// A delivery that `settle` settles.
    pub fn new(kind: MessageKind, body: Vec<u8>, settle: Box<dyn Settle>) -> Self {
        Self { kind, body, redeliveries: 0, broker_reason: None, settle: Some(settle) }
    }

    /// Its content is where it belongs: remove it from the queue.
    pub async fn ack(mut self) {
        if let Some(settle) = self.settle.take() {
            settle.ack().await;
        }
    }

    /// Give it back as it is.
    pub async fn requeue(mut self) {
        if let Some(settle) = self.settle.take() {
            settle.requeue().await;
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.settle.is_some() && !std::thread::panicking() {
            tracing::error!("a delivery was dropped unsettled: this is a bug");
        }
    }
}
