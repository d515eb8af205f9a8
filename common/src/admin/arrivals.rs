//! What arrived: activities in pages, traffic, refused requests. All of it of one workspace.

use async_trait::async_trait;

use super::{AdminError, StoredActivity};
use crate::email::Email;
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId, WorkspaceId};
use crate::instant::Instant;
use crate::traffic::{Counts, RefusedRequest};

/// Which activities of a workspace; newest received first.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityQuery {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those of this webhook.
    pub webhook_id: Option<WebhookId>,
    /// Only those assigned to this member.
    pub member_id: Option<MemberId>,
    /// Only those received at or after this.
    pub from: Option<Instant>,
    /// Only those received before this.
    pub until: Option<Instant>,
    /// Only those that come after this one in the list.
    pub after: Option<(Instant, ActivityId)>,
    /// At most so many.
    pub limit: u32,
}

impl ActivityQuery {
    /// All of a workspace.
    pub fn of(workspace_id: WorkspaceId, limit: u32) -> Self {
        Self {
            workspace_id,
            project_id: None,
            webhook_id: None,
            member_id: None,
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
    /// `title`
    pub title: String,
    /// The address of the member it is assigned to.
    pub member_email: Email,
    /// `trigger`
    pub trigger: Option<String>,
    /// `event`
    pub event: Option<String>,
    /// `startTime`
    pub start_time: Instant,
    /// `externalId`
    pub external_id: Option<String>,
    /// When its content was received.
    pub received_at: Instant,
}

/// The counts of one webhook in one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// When the span begins.
    pub span: Instant,
    /// The counts.
    pub counts: Counts,
}

/// What arrived in a workspace.
#[async_trait]
pub trait Arrivals: Send + Sync {
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
    ) -> Result<Vec<(WebhookId, Instant)>, AdminError>;

    /// The traffic of a workspace's webhooks, or of one of them, since an instant; by span.
    async fn traffic(
        &self,
        workspace_id: WorkspaceId,
        webhook_id: Option<WebhookId>,
        since: Instant,
    ) -> Result<Vec<Traffic>, AdminError>;

    /// The latest refused requests of a webhook.
    async fn refused(
        &self,
        webhook_id: WebhookId,
        limit: u32,
    ) -> Result<Vec<RefusedRequest>, AdminError>;
}
