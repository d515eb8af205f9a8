//! The first webhook, which `trailpad serve` creates if the store holds none.

use trailpad_common::admin::{Admin, AdminError, NewWebhook, Role, Webhook};
use trailpad_common::email::Email;
use trailpad_common::webhook::token::NewToken;

use crate::commands::admin::{member_of, project_named};
use crate::error::Error;

const WORKSPACE: &str = "My Workspace";
const PROJECT: &str = "My Project";
const WEBHOOK: &str = "My First Webhook";

/// Creates the webhook, its workspace, project and owner; `None` if a webhook exists already.
/// Continues an interrupted start.
pub async fn create(
    admin: &dyn Admin,
    owner: &Email,
) -> Result<Option<(Webhook, NewToken)>, Error> {
    if !admin.webhooks(None).await?.is_empty() {
        return Ok(None);
    }
    created_or_exists(admin.create_workspace(WORKSPACE, owner).await)?;
    let workspace = admin.workspace(WORKSPACE).await?;
    created_or_exists(admin.create_project(workspace.id, PROJECT).await)?;
    created_or_exists(admin.add_member(workspace.id, owner, Role::Owner).await)?;
    let token = NewToken::generate();
    let new = NewWebhook {
        workspace_id: workspace.id,
        project_id: project_named(admin, &workspace, PROJECT).await?,
        creator_id: member_of(admin, &workspace, owner).await?,
        name: WEBHOOK.to_owned(),
        token: token.presented,
    };
    Ok(Some((admin.create_webhook(&new).await?, token)))
}

fn created_or_exists<T>(created: Result<T, AdminError>) -> Result<(), Error> {
    match created {
        Ok(_) | Err(AdminError::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
