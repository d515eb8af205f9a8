//! The ports: what the roles need of the world, without saying which engine gives it.
//!
//! Calls are per message or per batch, never per activity, so dynamic dispatch costs nothing that
//! can be measured. One conformance suite (`tests/tests/conformance`) runs on every engine.

use std::time::Duration;

use async_trait::async_trait;

use crate::activity::Activity;
use crate::email::Email;
use crate::failure::{Reason, Unavailable};
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId};
use crate::instant::Instant;
use crate::lifecycle::HealthWatch;
use crate::token::{PublicId, SecretHash};

// --- the queue ---

/// What the body of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Envelopes on their way to the store: see [`crate::envelope`].
    Activities,
    /// Dead letters on their way to their table: see [`crate::dead_letter`].
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
    async fn hand_back(&self);
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
    pub async fn hand_back(mut self) {
        if let Some(settle) = self.settle.take() {
            settle.hand_back().await;
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

// --- the store ---

/// An activity with everything resolved, ready to become a row.
#[derive(Clone, Debug, PartialEq)]
pub struct NewActivity<'a> {
    /// Its identifier.
    pub id: ActivityId,
    /// The webhook it was posted to.
    pub webhook_id: WebhookId,
    /// The project of that webhook.
    pub project_id: ProjectId,
    /// The member it is assigned to.
    pub member_id: MemberId,
    /// When the gateway had read it.
    pub received_at: Instant,
    /// The activity.
    pub activity: Activity<'a>,
}

/// A question to the store: whose are the activities of this webhook for this address?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberQuery {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The address; none asks for the creator alone.
    pub email: Option<Email>,
}

/// The answer to a [`MemberQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The webhook's project.
    pub project_id: ProjectId,
    /// The webhook's creator.
    pub creator_id: MemberId,
    /// The member with the address.
    pub member: Option<ResolvedMember>,
}

/// A member found by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedMember {
    /// Who.
    pub id: MemberId,
    /// When the membership ended. What was accepted before is still theirs.
    pub ended_at: Option<Instant>,
}

/// What an insert did; the three add up to the batch, folded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Rows that are new.
    pub stored: u64,
    /// Rows whose content was replaced.
    pub replaced: u64,
    /// Activities whose row was there already.
    pub duplicates: u64,
}

/// The store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The environment: nothing of the batch was stored, and it can be tried again as it is.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[from] Unavailable),
    /// Something in the batch: nothing of it was stored.
    #[error("the store refused it: {0}")]
    Refused(String),
}

/// Where activities and dead letters are kept.
#[async_trait]
pub trait Store: Send + Sync {
    /// Answers each query, in order; none: the store does not know the webhook.
    async fn resolve(&self, queries: &[MemberQuery])
    -> Result<Vec<Option<Resolution>>, StoreError>;

    /// Stores a batch, all or nothing, idempotently: by id, and by externalId within its webhook.
    async fn insert(&self, batch: &[NewActivity<'_>]) -> Result<Inserted, StoreError>;

    /// Keeps dead letters, idempotently by id.
    async fn bury(&self, dead: &[DeadLetter]) -> Result<(), StoreError>;

    /// How many dead letters wait for somebody to do something, counted up to `count_max`.
    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, StoreError>;
}

/// An activity that could not be stored, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The activity's identifier, or that of the unreadable bytes.
    pub id: ActivityId,
    /// Its webhook, unless it is unreadable.
    pub webhook_id: Option<WebhookId>,
    /// The sender's id, if it has one that can be read.
    pub external_id: Option<String>,
    /// Whether it may replace what is stored under its external id.
    pub replaces: bool,
    /// The member it names, if it names one that can be read.
    pub member_email: Option<Email>,
    /// When it was received, unless it is unreadable.
    pub received_at: Option<Instant>,
    /// The W3C trace context of its request.
    pub traceparent: Option<String>,
    /// Attempts spent.
    pub attempts: u32,
    /// Why.
    pub reason: Reason,
    /// The last error in words; quotes nothing of the payload.
    pub error: String,
    /// The sender's JSON, or the unreadable bytes.
    pub payload: Vec<u8>,
    /// When it was given up.
    pub dead_at: Instant,
}

// --- the directory ---

/// A webhook as the directory knows it.
#[derive(Clone, Debug)]
pub struct WebhookRecord {
    /// Its identifier.
    pub id: WebhookId,
    /// The look-up key.
    pub public_id: PublicId,
    /// The hash of the secret that is valid.
    pub secret_hash: SecretHash,
    /// The hash of the secret before the last rotation, and until when it is valid.
    pub previous: Option<(SecretHash, Instant)>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What changed in the directory since a revision.
#[derive(Clone, Debug, Default)]
pub struct DirectoryChanges {
    /// The newest revision that is contained.
    pub revision: i64,
    /// Each webhook that changed, as it is now.
    pub webhooks: Vec<WebhookRecord>,
}

/// Where a gateway learns of webhooks.
#[async_trait]
pub trait DirectorySource: Send {
    /// What changed after `revision`; 0 asks for everything. Has a deadline of its own.
    async fn changes_since(&mut self, revision: i64) -> Result<DirectoryChanges, Unavailable>;
}

/// Webhooks that one directory may hold, revoked ones included: some 30 MB of a gateway's memory.
pub const DIRECTORY_WEBHOOKS_MAX: i64 = 200_000;
