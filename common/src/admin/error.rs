//! Errors of the administration.
//!
//! Their texts do not mention commands or pages: the binary and the dashboard add the advice.

use crate::email::Email;
use crate::failure::Unavailable;
use crate::id::{ActivityId, WebhookId};

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    NotFound(#[from] Missing),
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error("the store is unavailable")]
    Unavailable(
        #[from]
        #[source]
        Unavailable,
    ),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Missing {
    #[error("there is no workspace named {0:?}")]
    Workspace(String),
    #[error("workspace {workspace:?} has no project named {name:?}")]
    Project { workspace: String, name: String },
    #[error("the workspace has no such project")]
    ProjectId,
    #[error("{0} is not a member of the workspace")]
    Member(Email),
    /// The project or the creator of a new webhook does not belong to the workspace.
    #[error("the workspace has no such project or no such member")]
    ProjectOrMember,
    #[error("there is no webhook {0}")]
    Webhook(WebhookId),
    #[error("there is no activity {0}")]
    Activity(ActivityId),
    #[error("there is no dead letter {0}")]
    DeadLetter(ActivityId),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Conflict {
    #[error("a workspace named {0:?} exists already")]
    WorkspaceName(String),
    #[error("a project named {0:?} exists already")]
    ProjectName(String),
    #[error("{0} is a member already")]
    AlreadyMember(Email),
    #[error("{0} is the only owner of the workspace: make another member an owner first")]
    OnlyOwner(Email),
    #[error("the limit of {0} webhooks that a gateway can hold is reached")]
    WebhookLimit(i64),
    #[error("webhook {name:?} is permanently revoked: create a new webhook")]
    Revoked { name: String },
    #[error(
        "the token of webhook {name:?} was changed in the meantime: reload the webhook and try again"
    )]
    ChangedMeanwhile { name: String },
}
