//! What people do with dead letters: look, replay, discard.

use async_trait::async_trait;

use super::AdminError;
use crate::email::Email;
use crate::id::{ActivityId, WebhookId, WorkspaceId};
use crate::timestamp::Timestamp;

/// Which dead letters; what is not named does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetterFilter {
    /// Only this one.
    pub id: Option<ActivityId>,
    /// Only those of this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only those of this webhook.
    pub webhook_id: Option<WebhookId>,
    /// Only those that are dead for this reason, by its stable name.
    pub reason: Option<String>,
    /// Only those that wait for the member of this address.
    pub member_email: Option<Email>,
    /// Only those that were given up before this.
    pub dead_before: Option<Timestamp>,
    /// Not only the open ones, but also those that were settled, replayed or discarded.
    pub with_ended: bool,
}

/// A part of a list that is ordered by the time of death, the latest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The dead letter that the page begins after.
    pub after: Option<(Timestamp, ActivityId)>,
    /// At most so many.
    pub limit: u32,
    /// Whether the payloads are wanted too.
    pub with_payload: bool,
}

/// What has become of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterState {
    /// Its activity is stored nowhere: somebody has to do something.
    Open,
    /// It was given to the queue once more, and is not stored yet.
    Replayed,
    /// Its activity is stored, from a second copy or a replay; or what is stored under its external
    /// id stays as it is, so that a replay would change nothing.
    Settled,
    /// Somebody decided that it is not wanted.
    Discarded,
}

impl DeadLetterState {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Settled => "settled",
            Self::Discarded => "discarded",
        }
    }

    /// The state that follows from what is known.
    pub const fn of(is_stored: bool, is_replayed: bool, is_discarded: bool) -> Self {
        match (is_stored, is_discarded, is_replayed) {
            (true, _, _) => Self::Settled,
            (_, true, _) => Self::Discarded,
            (_, _, true) => Self::Replayed,
            _ => Self::Open,
        }
    }
}

/// A dead letter in its table.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDeadLetter {
    /// The activity's identifier.
    pub id: ActivityId,
    /// Its webhook, unless it is unreadable.
    pub webhook_id: Option<WebhookId>,
    /// The sender's id, if it has one.
    pub external_id: Option<String>,
    /// The member it names, if it names one.
    pub member_email: Option<Email>,
    /// The stable reason; text, because a newer version may have written it.
    pub reason: String,
    /// The last error in words.
    pub error: String,
    /// Attempts spent.
    pub attempts: u32,
    /// When it was received, unless it is unreadable.
    pub received_at: Option<Timestamp>,
    /// The W3C trace context of its request.
    pub traceparent: Option<String>,
    /// When it was given up.
    pub dead_at: Timestamp,
    /// What has become of it.
    pub state: DeadLetterState,
    /// The sender's JSON, or the unreadable bytes; none where it was not asked for.
    pub payload: Option<Vec<u8>>,
}

/// What somebody did to a dead letter; recorded with who and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was published once more, at this time; a death after it is a new one.
    Replay {
        /// Taken before the message was published.
        published_at: Timestamp,
    },
    /// It is not wanted.
    Discard,
}

impl Action {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Discard => "discard",
        }
    }
}

/// The dead letters of a store.
#[async_trait]
pub trait DeadLetterAdmin: Send + Sync {
    /// A page of the list.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Vec<StoredDeadLetter>, AdminError>;

    /// How many there are, counted up to `count_max`.
    async fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        count_max: u32,
    ) -> Result<u64, AdminError>;

    /// Marks dead letters and records who did it.
    async fn mark_dead_letters(
        &self,
        ids: &[ActivityId],
        action: Action,
        by: &str,
    ) -> Result<(), AdminError>;
}
