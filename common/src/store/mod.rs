//! The store's port for workers.

mod backend;
pub mod coalesce;
mod retries;

use std::time::Duration;

use async_trait::async_trait;

use crate::activity::Activity;
use crate::email::Email;
use crate::failure::{Reason, Unavailable};
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId};
use crate::timestamp::Timestamp;

pub use backend::StoreBackend;
pub use retries::{ClaimedRetry, RetryUsage, WaitingRetry};

/// An activity with its project and member resolved, ready to be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewActivity<'a> {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    pub project_id: ProjectId,
    pub member_id: MemberId,
    /// The time at which the gateway had read the request.
    pub received_at: Timestamp,
    pub activity: Activity<'a>,
}

/// Query for the member to whom a webhook's activities with this address belong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberQuery {
    pub webhook_id: WebhookId,
    /// `None` queries only the webhook's creator.
    pub email: Option<Email>,
}

/// The result of a [`MemberQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub project_id: ProjectId,
    pub creator_id: MemberId,
    /// The member with the queried address.
    pub member: Option<ResolvedMember>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedMember {
    pub id: MemberId,
    /// The end of the membership. Activities accepted before it still belong to the member.
    pub ended_at: Option<Timestamp>,
}

/// Numbers of activities by outcome. They add up to the size of the batch before coalescing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// New rows.
    pub stored: u64,
    /// Rows with replaced content.
    pub replaced: u64,
    /// Activities whose row existed.
    pub duplicates: u64,
}

/// The outcome of a batch that was stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    pub inserted: Inserted,
    /// The activities that the store refused while it stored the others.
    pub refused: Vec<Refused>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub id: ActivityId,
    /// `true` for a data exception: no attempt can succeed.
    pub is_permanent: bool,
    /// For people: never quotes the payload.
    pub error: String,
}

/// A batch was not stored. Part of it may be, if the outcome of a commit is unknown; storing it
/// again is harmless.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// An error of the environment: the same call can be repeated later.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[from] Unavailable),
    /// The batch takes longer than a statement may: a smaller one can succeed.
    #[error("the batch takes too long: {0}")]
    TooSlow(String),
}

/// Stores activities, and the failures of those that can't be stored.
#[async_trait]
pub trait Store: Send + Sync {
    /// Answers each query, in order; `None` if the webhook does not exist.
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, Unavailable>;

    /// Stores a batch in one transaction. Idempotent by id, and by `externalId` within the webhook.
    /// Refused activities are left out, and their neighbours are stored.
    ///
    /// Returns only after the batch is durable, replication that the store waits for included:
    /// also if every activity was a duplicate.
    ///
    /// `may_be_retries`: some of them may have a row in `retries`. It is deleted in the same
    /// transaction, unless the activity is refused.
    async fn insert(
        &self,
        batch: &[NewActivity<'_>],
        may_be_retries: bool,
    ) -> Result<Stored, StoreError>;

    /// Records failures in one transaction: activities that wait for a retry, and dead letters.
    /// Idempotent by id. A later attempt or death replaces an earlier one.
    async fn record_failures(
        &self,
        retries: &[WaitingRetry],
        dead: &[DeadLetter],
    ) -> Result<(), Unavailable>;

    /// Claims at most `limit` retries that are due, oldest first, so that no other worker gets them
    /// for `lease`. A claim that is neither settled nor released counts as a crash.
    async fn claim_retries(
        &self,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<ClaimedRetry>, Unavailable>;

    /// Makes claimed retries due again, without counting the claim.
    async fn release_retries(&self, ids: &[ActivityId]) -> Result<(), Unavailable>;

    /// What waits for a retry, by webhook.
    async fn retry_usage(&self) -> Result<RetryUsage, Unavailable>;

    /// Records that a trial of a suspected activity begins, durably; returns how many earlier
    /// trials did not end.
    async fn begin_trial(&self, id: ActivityId) -> Result<u32, Unavailable>;

    async fn end_trial(&self, id: ActivityId) -> Result<(), Unavailable>;

    /// Checks that the store accepts an ordinary activity, without storing one.
    async fn probe(&self) -> Result<(), Unavailable>;

    /// Counts open dead letters, up to `count_max`.
    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, Unavailable>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The activity's id, or the id derived from unreadable bytes.
    pub id: ActivityId,
    /// `None` if the message is unreadable.
    pub webhook_id: Option<WebhookId>,
    /// `None` if the activity has none or can't be parsed.
    pub external_id: Option<String>,
    /// `true` if the activity may replace the stored activity with its `externalId`.
    pub replaces: bool,
    /// `None` if the activity has none or can't be parsed.
    pub member_email: Option<Email>,
    /// `None` if the message is unreadable.
    pub received_at: Option<Timestamp>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
    pub attempts: u32,
    pub reason: Reason,
    /// The last error, for people; never quotes the payload.
    pub error: String,
    /// The sender's JSON, or the unreadable bytes.
    pub payload: Vec<u8>,
    pub dead_at: Timestamp,
}
