//! Queries of one workspace: pages of activities, traffic, rejected requests.

use async_trait::async_trait;

use super::{AdminError, Cursor, StoredActivity};
use crate::email::Email;
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId, WorkspaceId};
use crate::timestamp::Timestamp;
use crate::traffic::{Counts, RejectedRequest};

/// Selects activities of a workspace by at most one criterion. Each criterion has an index in list
/// order; a second criterion would need a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityScope {
    Workspace,
    Project(ProjectId),
    Webhook(WebhookId),
    /// The member that activities are assigned to.
    Member(MemberId),
}

/// Selects activities of a workspace, ordered by receipt, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityQuery {
    pub workspace_id: WorkspaceId,
    pub scope: ActivityScope,
    /// Inclusive lower bound of the receipt.
    pub from: Option<Timestamp>,
    /// Exclusive upper bound of the receipt.
    pub until: Option<Timestamp>,
    /// The last activity of the previous page.
    pub after: Option<Cursor>,
    pub limit: u32,
}

impl ActivityQuery {
    /// Selects all activities of a workspace.
    pub fn of(workspace_id: WorkspaceId, limit: u32) -> Self {
        Self {
            workspace_id,
            scope: ActivityScope::Workspace,
            from: None,
            until: None,
            after: None,
            limit,
        }
    }
}

/// An entry in a list of activities.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedActivity {
    pub id: ActivityId,
    pub project_id: ProjectId,
    pub member_id: MemberId,
    /// The address of the member `member_id`.
    pub member_email: Email,
    pub title: String,
    pub trigger: Option<String>,
    pub event: Option<String>,
    pub start_time: Timestamp,
    pub external_id: Option<String>,
    /// Receipt of the current content.
    pub received_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub webhook_id: WebhookId,
    /// Start of the time span.
    pub span: Timestamp,
    pub counts: Counts,
}

#[async_trait]
pub trait ActivityQueries: Send + Sync {
    /// Returns a page of activities. The cost does not depend on the position in the list.
    async fn page(&self, query: &ActivityQuery) -> Result<Vec<ListedActivity>, AdminError>;

    async fn activity(
        &self,
        workspace_id: WorkspaceId,
        id: ActivityId,
    ) -> Result<StoredActivity, AdminError>;

    /// The receipt of the last stored activity of each webhook of a workspace.
    async fn last_activities(
        &self,
        workspace_id: WorkspaceId,
    ) -> Result<Vec<(WebhookId, Timestamp)>, AdminError>;

    /// Traffic of those of `webhooks` that belong to the workspace, from `since` on, ordered by time
    /// span.
    async fn traffic(
        &self,
        workspace_id: WorkspaceId,
        webhooks: &[WebhookId],
        since: Timestamp,
    ) -> Result<Vec<Traffic>, AdminError>;

    /// The last recorded rejected requests of a webhook, newest first.
    async fn refused(
        &self,
        webhook_id: WebhookId,
        limit: u32,
    ) -> Result<Vec<RejectedRequest>, AdminError>;
}
