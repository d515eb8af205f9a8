//! The store's port, as a worker uses it.

pub mod coalesce;

use async_trait::async_trait;

use crate::activity::Activity;
use crate::email::Email;
use crate::failure::{Reason, Unavailable};
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId};
use crate::timestamp::Timestamp;

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
    pub received_at: Timestamp,
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
    pub ended_at: Option<Timestamp>,
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
    async fn archive_dead_letters(&self, dead: &[DeadLetter]) -> Result<(), StoreError>;

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
    pub received_at: Option<Timestamp>,
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
    pub dead_at: Timestamp,
}
