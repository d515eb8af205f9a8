//! Dead letters for people: list, count, and mark as replayed or discarded.

use async_trait::async_trait;

use super::{AdminError, Cursor};
use crate::email::Email;
use crate::id::{ActivityId, WebhookId, WorkspaceId};
use crate::names::stable_names;
use crate::timestamp::Timestamp;

/// Selects dead letters. `None` does not restrict the selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetterFilter {
    pub id: Option<ActivityId>,
    pub workspace_id: Option<WorkspaceId>,
    pub webhook_id: Option<WebhookId>,
    /// The stable name of a reason.
    pub reason: Option<String>,
    /// The `memberEmail` of the activity.
    pub member_email: Option<Email>,
    /// Exclusive upper bound of `dead_at`.
    pub dead_before: Option<Timestamp>,
    /// `true` to include settled, replayed and discarded dead letters; `false` for open ones only.
    pub with_ended: bool,
}

/// A page of dead letters, ordered by `dead_at`, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The last dead letter of the previous page.
    pub after: Option<Cursor>,
    pub limit: u32,
    pub with_payload: bool,
}

stable_names! {
    pub enum DeadLetterState {
        /// The activity is not stored: a person has to replay or discard it.
        Open = "open",
        /// Published again and not stored yet.
        Replayed = "replayed",
        /// The activity is stored, by a second copy or a replay; or a replay would not change the row
        /// of its `externalId`.
        Settled = "settled",
        /// Discarded by a member or an operator.
        Discarded = "discarded",
    }
}

impl DeadLetterState {
    pub const fn of(is_stored: bool, is_replayed: bool, is_discarded: bool) -> Self {
        if is_stored {
            Self::Settled
        } else if is_discarded {
            Self::Discarded
        } else if is_replayed {
            Self::Replayed
        } else {
            Self::Open
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredDeadLetter {
    /// The activity's id, or an id derived from unreadable bytes.
    pub id: ActivityId,
    /// `None` if the message is unreadable.
    pub webhook_id: Option<WebhookId>,
    pub external_id: Option<String>,
    /// `memberEmail` of the activity.
    pub member_email: Option<Email>,
    /// The stable name of the reason. A text, because a newer version can have written it.
    pub reason: String,
    /// The last error, for people.
    pub error: String,
    pub attempts: u32,
    /// `None` if the message is unreadable.
    pub received_at: Option<Timestamp>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
    pub dead_at: Timestamp,
    pub state: DeadLetterState,
    /// The sender's JSON, or the unreadable bytes. `None` without [`Page::with_payload`].
    pub payload: Option<Vec<u8>>,
}

/// An action on a dead letter. The store records it with its time and the acting person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Published again. The dead letter is open again if it fails after `published_at`.
    Replay {
        /// The time just before the message was published.
        published_at: Timestamp,
    },
    Discard,
}

impl Action {
    /// The stable name, as the store records it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Discard => "discard",
        }
    }
}

#[async_trait]
pub trait DeadLetterAdmin: Send + Sync {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Vec<StoredDeadLetter>, AdminError>;

    /// Counts dead letters, up to `count_max`.
    async fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        count_max: u32,
    ) -> Result<u64, AdminError>;

    /// Marks dead letters and records that the person `by` did it.
    async fn mark_dead_letters(
        &self,
        ids: &[ActivityId],
        action: Action,
        by: &str,
    ) -> Result<(), AdminError>;
}
