//! The queue's port, and its two message formats: [`envelope`] and [`dead_letter`].
//!
//! Calls are per message and not per activity, so dynamic dispatch costs nothing measurable. The
//! conformance suite (`tests/tests/conformance`) tests every engine.

mod backend;
pub mod dead_letter;
pub mod envelope;

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Cause, Unavailable};
use crate::names::stable_names;
use crate::runtime::lifecycle::HealthWatch;

pub use backend::QueueBackend;

stable_names! {
    /// The format of a message's body. The AMQP property `type` carries its name.
    pub enum MessageKind {
        /// See [`envelope`].
        Activities = "trailpad.activities.v1",
        /// See [`dead_letter`].
        DeadLetters = "trailpad.dead-letters.v1",
        /// Bytes that can't be parsed, kept unchanged. Also stands for every unknown name.
        Unreadable = "trailpad.unreadable.v1",
    }
}

impl MessageKind {
    pub fn from_name(name: &str) -> Self {
        name.parse().unwrap_or(Self::Unreadable)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The queue from which workers consume activities.
    Activities,
    /// The same queue after this delay.
    Retry(Duration),
    Dead,
}

/// The queue did not confirm a message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// The message was never sent to the queue.
    #[error("not accepted by the queue: {0}")]
    NotAccepted(String),
    /// The queue refused the message and holds no copy.
    #[error("refused by the queue: {0}")]
    Refused(String),
    /// The message was sent without an answer: the queue may hold it.
    #[error("the queue did not confirm: {0}")]
    Unknown(String),
}

/// Publishes one message at a time.
#[async_trait]
pub trait Publisher: Send {
    /// Publishes a message and waits until the queue holds it durably.
    ///
    /// Has no timeout. A caller with a deadline answers its own callers and keeps waiting here,
    /// because an unconfirmed message occupies its publisher.
    async fn publish(
        &mut self,
        to: Destination,
        kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError>;
}

/// The queue's port for gateways and workers.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Creates a publisher. It connects to the queue at its first use.
    fn publisher(&self) -> Box<dyn Publisher>;

    /// Creates a publisher for a worker, which publishes only messages that the queue already holds:
    /// a retry, an unchanged message, a dead letter. A rule that limits what senders may add does
    /// not apply to it, because the queue drains only if the worker can settle its messages.
    fn republisher(&self) -> Box<dyn Publisher> {
        self.publisher()
    }

    /// `Up` while publishing is possible.
    fn publish_health(&self) -> HealthWatch;

    /// `Up` while consuming is possible.
    fn consume_health(&self) -> HealthWatch;

    /// Starts to consume messages, with at most `prefetch` unsettled messages at a time.
    async fn subscribe(
        &self,
        source: Source,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Unavailable>;

    /// Counts waiting messages (not activities), for operators.
    async fn depths(&self) -> Result<Depths, Unavailable>;

    /// Counts the consumers of [`Source::Activities`], also those of other processes.
    async fn consumers(&self) -> Result<u32, Unavailable> {
        Ok(1)
    }
}

/// Numbers of waiting messages, without unacknowledged messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    pub activities: u64,
    pub retry: u64,
    /// Dead letters that are not archived yet.
    pub dead: u64,
}

/// The queue of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Activities,
    Dead,
}

#[async_trait]
pub trait Subscription: Send {
    /// Waits for the next message. Returns `None` after [`Subscription::cancel`], once all received
    /// messages were returned.
    ///
    /// # Errors
    /// The connection is lost. The queue delivers unsettled messages again.
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable>;

    /// Returns the next message if the client has already received it; does not wait.
    fn next_ready(&mut self) -> Option<Delivery>;

    /// Changes the window: at most about `messages` unsettled messages from now on. Settles nothing
    /// and loses nothing; messages that were received under the former window are still returned.
    ///
    /// If more messages than the new window are unsettled, nothing further is delivered until
    /// fewer are. RabbitMQ fixes the window of a consumer when it starts, so there the subscription
    /// replaces its consumer: up to twice the new window may be unsettled until the messages of
    /// the former consumer are settled, and each change costs a few round trips to the broker.
    async fn set_prefetch(&mut self, messages: u16);

    /// Stops the delivery of messages. The caller must still take the messages received before.
    async fn cancel(&mut self);
}

/// A received message that must be settled.
///
/// Dropping it unsettled is logged as a bug. The queue then delivers it again only after the
/// connection is closed.
pub struct Delivery {
    pub kind: MessageKind,
    pub body: Vec<u8>,
    /// Number of earlier deliveries without a settlement, as far as the broker counts them.
    pub redeliveries: u32,
    /// The cause if the broker dead-lettered the message.
    pub broker_cause: Option<Cause>,
    settle: Option<Box<dyn Settle>>,
}

/// An engine's handle to settle a delivery.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Removes the message from the queue. A lost connection is not an error: the queue delivers the
    /// message again, and storing is idempotent.
    async fn ack(&self);

    /// Returns the message to the queue unchanged.
    async fn requeue(&self);
}

impl Delivery {
    pub fn new(kind: MessageKind, body: Vec<u8>, settle: Box<dyn Settle>) -> Self {
        Self { kind, body, redeliveries: 0, broker_cause: None, settle: Some(settle) }
    }

    /// Replaces the handle that settles the delivery.
    pub fn wrap_settle(mut self, wrap: impl FnOnce(Box<dyn Settle>) -> Box<dyn Settle>) -> Self {
        self.settle = self.settle.take().map(wrap);
        self
    }

    /// Removes the message from the queue; call once its content is stored or published elsewhere.
    pub async fn ack(mut self) {
        if let Some(settle) = self.settle.take() {
            settle.ack().await;
        }
    }

    /// Returns the message to the queue unchanged.
    pub async fn requeue(mut self) {
        if let Some(settle) = self.settle.take() {
            settle.requeue().await;
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.settle.is_some() && !std::thread::panicking() {
            tracing::error!("delivery dropped without a settlement: this is a bug");
        }
    }
}
