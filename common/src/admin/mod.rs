//! What people do with workspaces, members, projects and webhooks, and what they look at: the
//! ports behind the command line and the dashboard.

mod activities;
mod dead_letters;
pub mod replay;
mod retention;
mod sign_in;

use async_trait::async_trait;

use crate::email::Email;
use crate::failure::Unavailable;
use crate::id::{ActivityId, MemberId, ProjectId, WebhookId, WorkspaceId};
use crate::timestamp::Timestamp;
use crate::webhook::token::{PresentedToken, PublicId};

pub use activities::{ActivityQueries, ActivityQuery, ActivityScope, ListedActivity, Traffic};
pub use dead_letters::{
    Action, DeadLetterAdmin, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter,
};
pub use retention::{Cutoffs, Purged, Retention};
pub use sign_in::{Identity, SignIn, one_time_link};

/// Why an operation was not carried out; each is a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdminError {
    /// Something that was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It would clash with what is there.
    #[error("{0}")]
    Conflict(String),
    /// The store is away.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[from] Unavailable),
}

/// A member's role in its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Made the workspace; may do everything.
    Owner,
    /// May manage it.
    Admin,
    /// May see it.
    Member,
}

impl Role {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Owner, Self::Admin, Self::Member].into_iter().find(|role| role.as_str() == name)
    }
}

/// A workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// Its identifier.
    pub id: WorkspaceId,
    /// Its name, unique in the store.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A member of a workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its identifier.
    pub id: MemberId,
    /// Its address, unique in the workspace.
    pub email: Email,
    /// Its role.
    pub role: Role,
    /// When it joined.
    pub created_at: Timestamp,
}

/// A project of a workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its identifier.
    pub id: ProjectId,
    /// Its name, unique in the workspace.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A webhook to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// The workspace; project and creator have to be of it.
    pub workspace_id: WorkspaceId,
    /// The project.
    pub project_id: ProjectId,
    /// The webhook's name.
    pub name: String,
    /// The member whom activities without memberEmail are assigned to.
    pub creator_id: MemberId,
    /// What is stored of its token.
    pub token: PresentedToken,
}

/// A webhook as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Its identifier.
    pub id: WebhookId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// That workspace's name.
    pub workspace: String,
    /// Its project's name.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its creator's address.
    pub creator: Email,
    /// The part of its token that is no secret.
    pub public_id: PublicId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Another one after each change of its token.
    pub revision: i64,
}

impl Webhook {
    /// Why a rotation changed nothing, in a sentence.
    pub fn why_not_rotated(&self) -> String {
        let name = &self.name;
        match self.revoked_at {
            Some(_) => format!("webhook {name:?} is revoked, which is for ever: create a new one"),
            None => format!("the token of webhook {name:?} was changed a moment ago: look again"),
        }
    }
}

/// Which activities to list; newest received first.
#[derive(Clone, Debug, Default)]
pub struct ActivityFilter {
    /// Only those of this webhook.
    pub webhook_id: Option<WebhookId>,
    /// Only those of this externalId.
    pub external_id: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// A stored activity.
#[derive(Clone, Debug)]
pub struct StoredActivity {
    /// The row's identifier.
    pub id: ActivityId,
    /// Its webhook.
    pub webhook_id: WebhookId,
    /// Its project.
    pub project_id: ProjectId,
    /// `title`
    pub title: String,
    /// `description`
    pub description: Option<String>,
    /// `startTime`
    pub start_time: Timestamp,
    /// `endTime`
    pub end_time: Option<Timestamp>,
    /// `trigger`
    pub trigger: Option<String>,
    /// `event`
    pub event: Option<String>,
    /// The address of the member it is assigned to.
    pub member_email: Email,
    /// `externalId`
    pub external_id: Option<String>,
    /// `metadata`
    pub metadata: Option<Box<serde_json::value::RawValue>>,
    /// When its content was received.
    pub received_at: Timestamp,
    /// When its row was made.
    pub stored_at: Timestamp,
}

/// The operations. What does not exist or clashes is told in a sentence. A workspace is meant by
/// its identifier, because its name may be another's a moment later.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Makes a workspace and its owner.
    async fn create_workspace(
        &self,
        name: &str,
        owner: &Email,
    ) -> Result<(Workspace, Member), AdminError>;

    /// The workspace of a name.
    async fn workspace(&self, name: &str) -> Result<Workspace, AdminError>;

    /// Adds a member; one whose membership had ended is a member again.
    async fn add_member(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<Member, AdminError>;

    /// Gives a workspace another name.
    async fn rename_workspace(&self, workspace: WorkspaceId, name: &str) -> Result<(), AdminError>;

    /// Gives a member another role. A workspace keeps an owner.
    async fn set_role(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<(), AdminError>;

    /// Ends a membership, and with it the member's sessions. A workspace keeps an owner; what the
    /// member created stays, and what was accepted for them is still stored.
    async fn end_member(&self, workspace: WorkspaceId, email: &Email) -> Result<(), AdminError>;

    /// The members of a workspace, by address.
    async fn members(&self, workspace: WorkspaceId) -> Result<Vec<Member>, AdminError>;

    /// Makes a project.
    async fn create_project(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Project, AdminError>;

    /// Gives a project another name.
    async fn rename_project(
        &self,
        workspace: WorkspaceId,
        id: ProjectId,
        name: &str,
    ) -> Result<(), AdminError>;

    /// The projects of a workspace, by name.
    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, AdminError>;

    /// Makes a webhook.
    async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, AdminError>;

    /// The webhooks of a workspace, or of all, newest first, revoked ones included.
    async fn webhooks(&self, workspace: Option<WorkspaceId>) -> Result<Vec<Webhook>, AdminError>;

    /// One webhook.
    async fn webhook(&self, id: WebhookId) -> Result<Webhook, AdminError>;

    /// Gives a webhook another name.
    async fn rename_webhook(&self, id: WebhookId, name: &str) -> Result<(), AdminError>;

    /// Gives a webhook a new secret; the old one stays valid until `old_valid_until`. Refused if
    /// the token was changed since `revision`: a rotation that is asked for twice would end the
    /// secret that senders have.
    async fn rotate_webhook(
        &self,
        id: WebhookId,
        revision: i64,
        token: PresentedToken,
        old_valid_until: Timestamp,
    ) -> Result<Webhook, AdminError>;

    /// Revokes a webhook, for ever.
    async fn revoke_webhook(&self, id: WebhookId) -> Result<Webhook, AdminError>;

    /// Activities, newest received first.
    async fn activities(&self, filter: &ActivityFilter) -> Result<Vec<StoredActivity>, AdminError>;
}
