//! What arrived: activities in pages, traffic, refused requests. All of it of one workspace.

use async_trait::async_trait;

use super::{AdminError, StoredActivity};
use crate::email::Email;
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId, WorkspaceId};
use crate::timestamp::Timestamp;
use crate::traffic::{Counts, RejectedRequest};

/// Whose activities, of a workspace. One thing alone, because each has an index that gives its
/// activities in order; any second one would have to be looked for among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityScope {
    /// All of the workspace.
    Workspace,
    /// Those of a project.
    Project(ProjectId),
    /// Those of a webhook.
    Webhook(WebhookId),
    /// Those assigned to a member.
    Member(MemberId),
}

/// Which activities of a workspace; newest received first.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityQuery {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Whose.
    pub scope: ActivityScope,
    /// Only those received at or after this.
    pub from: Option<Timestamp>,
    /// Only those received before this.
    pub until: Option<Timestamp>,
    /// Only those that come after this one in the list.
    pub after: Option<(Timestamp, ActivityId)>,
    /// At most so many.
    pub limit: u32,
}

impl ActivityQuery {
    /// All of a workspace.
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

/// An activity as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedActivity {
    /// The row's identifier.
    pub id: ActivityId,
    /// Its project.
    pub project_id: ProjectId,
    /// The member it is assigned to.
    pub member_id: MemberId,
    /// That member's address.
    pub member_email: Email,
    /// `title`
    pub title: String,
    /// `trigger`
    pub trigger: Option<String>,
    /// `event`
    pub event: Option<String>,
    /// `startTime`
    pub start_time: Timestamp,
    /// `externalId`
    pub external_id: Option<String>,
    /// When its content was received.
    pub received_at: Timestamp,
}

/// The counts of one webhook in one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// When the span begins.
    pub span: Timestamp,
    /// The counts.
    pub counts: Counts,
}

/// What arrived in a workspace.
#[async_trait]
pub trait ActivityQueries: Send + Sync {
    /// A page of activities. Costs the same however far down the list it is.
    async fn page(&self, query: &ActivityQuery) -> Result<Vec<ListedActivity>, AdminError>;

    /// One activity of a workspace.
    async fn activity(
        &self,
        workspace_id: WorkspaceId,
        id: ActivityId,
    ) -> Result<StoredActivity, AdminError>;

    /// When each webhook of a workspace last had an activity stored, by the time of its receipt.
    async fn last_activities(
        &self,
        workspace_id: WorkspaceId,
    ) -> Result<Vec<(WebhookId, Timestamp)>, AdminError>;

    /// The traffic of webhooks, as far as they are of the workspace, since an instant; by span.
    async fn traffic(
        &self,
        workspace_id: WorkspaceId,
        webhooks: &[WebhookId],
        since: Timestamp,
    ) -> Result<Vec<Traffic>, AdminError>;

    /// The refused requests of a webhook that were written last, the last first.
    async fn refused(
        &self,
        webhook_id: WebhookId,
        limit: u32,
    ) -> Result<Vec<RejectedRequest>, AdminError>;
}
