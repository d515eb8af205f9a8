//! Waiting retries for people: list them, and make them due.

use async_trait::async_trait;

use super::AdminError;
use crate::email::Email;
use crate::id::{ActivityId, WebhookId};
use crate::timestamp::Timestamp;

/// Selects waiting retries. `None` does not restrict the selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryFilter {
    pub id: Option<ActivityId>,
    pub webhook_id: Option<WebhookId>,
    /// The stable name of a reason.
    pub reason: Option<String>,
    /// The `memberEmail` that a retry waits for.
    pub member_email: Option<Email>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredRetry {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    pub member_email: Option<Email>,
    pub reason: String,
    pub error: String,
    /// The number of the next attempt.
    pub attempt: u32,
    pub received_at: Timestamp,
    pub due_at: Timestamp,
}

#[async_trait]
pub trait RetryAdmin: Send + Sync {
    /// Lists waiting retries, those that are due first.
    async fn retries(
        &self,
        filter: &RetryFilter,
        limit: u32,
    ) -> Result<Vec<StoredRetry>, AdminError>;

    /// Makes waiting retries due now, and returns their number. A retry that a worker has claimed
    /// may be processed twice, which is harmless.
    async fn hurry_retries(&self, filter: &RetryFilter) -> Result<u64, AdminError>;
}
