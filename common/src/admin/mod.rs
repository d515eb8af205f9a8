//! The ports behind the command line and the dashboard: workspaces, members, projects, webhooks,
//! activities, dead letters, retention and sign-in.

mod activities;
mod cursor;
mod dead_letters;
mod error;
pub mod replay;
mod retention;
mod retries;
mod sign_in;

use async_trait::async_trait;

use crate::email::Email;
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId, WorkspaceId};
use crate::names::stable_names;
use crate::timestamp::Timestamp;
use crate::traffic::TrafficLog;
use crate::webhook::token::{PresentedToken, PublicId};

pub use activities::{ActivityQueries, ActivityQuery, ActivityScope, ListedActivity, Traffic};
pub use cursor::{Cursor, InvalidCursor};
pub use dead_letters::{
    Action, DeadLetterAdmin, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter,
};
pub use error::{AdminError, Conflict, Missing};
pub use retention::{Cutoffs, Purged, Retention};
pub use retries::{RetryAdmin, RetryFilter, StoredRetry};
pub use sign_in::{Identity, SignIn, one_time_link};

stable_names! {
    /// A member's role in its workspace.
    pub enum Role {
        /// All rights. A workspace has at least one owner.
        Owner = "owner",
        /// Manages members, projects and webhooks.
        Admin = "admin",
        /// Reads only.
        Member = "member",
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    pub id: WorkspaceId,
    /// Unique in the store.
    pub name: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: MemberId,
    /// Unique in the workspace.
    pub email: Email,
    pub role: Role,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    pub id: ProjectId,
    /// Unique in the workspace.
    pub name: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Project and creator must belong to this workspace.
    pub workspace_id: WorkspaceId,
    pub project_id: ProjectId,
    pub name: String,
    /// The member to whom activities without `memberEmail` are assigned.
    pub creator_id: MemberId,
    pub token: PresentedToken,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub id: WebhookId,
    pub workspace_id: WorkspaceId,
    /// The workspace's name.
    pub workspace: String,
    /// The project's name.
    pub project: String,
    pub name: String,
    /// The creator's address.
    pub creator: Email,
    /// The public part of its token.
    pub public_id: PublicId,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// Changes with every change of the token.
    pub revision: i64,
}

impl Webhook {
    /// The reason for a rotation that changed nothing.
    pub fn rotation_conflict(&self) -> Conflict {
        let name = self.name.clone();
        if self.revoked_at.is_some() {
            Conflict::Revoked { name }
        } else {
            Conflict::ChangedMeanwhile { name }
        }
    }
}

/// Selects activities, ordered by receipt, newest first.
#[derive(Clone, Debug, Default)]
pub struct ActivityFilter {
    pub webhook_id: Option<WebhookId>,
    pub external_id: Option<String>,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct StoredActivity {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    pub project_id: ProjectId,
    pub title: String,
    pub description: Option<String>,
    pub start_time: Timestamp,
    pub end_time: Option<Timestamp>,
    pub trigger: Option<String>,
    pub event: Option<String>,
    /// The address of the member to whom the activity is assigned.
    pub member_email: Email,
    pub external_id: Option<String>,
    pub metadata: Option<Box<serde_json::value::RawValue>>,
    /// Receipt of the current content.
    pub received_at: Timestamp,
    /// Creation of the row.
    pub stored_at: Timestamp,
}

/// Operations on workspaces, members, projects and webhooks.
///
/// A workspace is passed by its id, because its name can belong to another workspace a moment later.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Creates a workspace and its owner.
    async fn create_workspace(
        &self,
        name: &str,
        owner: &Email,
    ) -> Result<(Workspace, Member), AdminError>;

    async fn workspace(&self, name: &str) -> Result<Workspace, AdminError>;

    /// Adds a member, or restores a membership that has ended.
    async fn add_member(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<Member, AdminError>;

    async fn rename_workspace(&self, workspace: WorkspaceId, name: &str) -> Result<(), AdminError>;

    /// Changes a member's role. Fails if the workspace would lose its last owner.
    async fn set_role(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<(), AdminError>;

    /// Ends a membership and the member's sessions. Fails if the workspace would lose its last
    /// owner. Keeps the projects and webhooks that the member created; activities that were accepted
    /// for the member before are still stored.
    async fn end_member(&self, workspace: WorkspaceId, email: &Email) -> Result<(), AdminError>;

    /// The members of a workspace, ordered by address.
    async fn members(&self, workspace: WorkspaceId) -> Result<Vec<Member>, AdminError>;

    async fn create_project(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Project, AdminError>;

    async fn rename_project(
        &self,
        workspace: WorkspaceId,
        id: ProjectId,
        name: &str,
    ) -> Result<(), AdminError>;

    /// The projects of a workspace, ordered by name.
    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, AdminError>;

    async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, AdminError>;

    /// The webhooks of a workspace, or of all workspaces if `None`; newest first, including revoked
    /// webhooks.
    async fn webhooks(&self, workspace: Option<WorkspaceId>) -> Result<Vec<Webhook>, AdminError>;

    async fn webhook(&self, id: WebhookId) -> Result<Webhook, AdminError>;

    async fn rename_webhook(&self, id: WebhookId, name: &str) -> Result<(), AdminError>;

    /// Gives a webhook a new secret. The old secret stays valid until `old_valid_until`.
    ///
    /// Fails if the token has changed since `revision`: a repeated rotation would end the secret that
    /// senders already use.
    async fn rotate_webhook(
        &self,
        id: WebhookId,
        revision: i64,
        token: PresentedToken,
        old_valid_until: Timestamp,
    ) -> Result<Webhook, AdminError>;

    /// Revokes a webhook permanently.
    async fn revoke_webhook(&self, id: WebhookId) -> Result<Webhook, AdminError>;

    async fn activities(&self, filter: &ActivityFilter) -> Result<Vec<StoredActivity>, AdminError>;
}

/// All ports of the administration. An engine implements them on one type.
pub trait Administration:
    Admin + ActivityQueries + DeadLetterAdmin + Retention + RetryAdmin + SignIn + TrafficLog
{
}

impl<T: Admin + ActivityQueries + DeadLetterAdmin + Retention + RetryAdmin + SignIn + TrafficLog>
    Administration for T
{
}
