//! The store's port for workers.

mod backend;
pub mod coalesce;

use async_trait::async_trait;

use crate::activity::Activity;
use crate::email::Email;
use crate::failure::{Reason, Unavailable};
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId};
use crate::timestamp::Timestamp;

pub use backend::StoreBackend;

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

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// An error of the environment. Nothing was stored; the same call can be repeated.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[from] Unavailable),
    /// An error of an activity in the batch. Nothing was stored.
    #[error("refused by the store: {0}")]
    Refused(String),
}

/// Stores activities and dead letters.
#[async_trait]
pub trait Store: Send + Sync {
    /// Answers each query, in order; `None` if the webhook does not exist.
    async fn resolve(&self, queries: &[MemberQuery])
    -> Result<Vec<Option<Resolution>>, StoreError>;

    /// Stores a batch, all or nothing. Idempotent by id, and by `externalId` within the webhook.
    async fn insert(&self, batch: &[NewActivity<'_>]) -> Result<Inserted, StoreError>;

    /// Archives dead letters. Idempotent by id.
    async fn archive_dead_letters(&self, dead: &[DeadLetter]) -> Result<(), StoreError>;

    /// Counts open dead letters, up to `count_max`.
    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, StoreError>;
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
