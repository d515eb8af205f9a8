//! Changes of what is there: names and roles.

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use trailpad_common::admin::{AdminError, Role};
use trailpad_common::email::Email;
use trailpad_common::id::{ProjectId, WebhookId, WorkspaceId};
use uuid::Uuid;

use super::webhooks::no_webhook;
use super::{away, conflict, not_found};

pub(super) async fn rename_workspace(
    client: &Object,
    workspace: WorkspaceId,
    name: &str,
) -> Result<(), AdminError> {
    let (sql, id) = ("UPDATE workspaces SET name = $2 WHERE id = $1", workspace.uuid());
    let parameters = [(&id as _, Type::UUID), (&name as _, Type::TEXT)];
    client.execute_typed(sql, &parameters).await.map_err(|error| clash(error, name))?;
    Ok(())
}

pub(super) async fn rename_project(
    client: &Object,
    workspace: WorkspaceId,
    id: ProjectId,
    name: &str,
) -> Result<(), AdminError> {
    let (workspace, id) = (workspace.uuid(), id.uuid());
    let sql = "UPDATE projects SET name = $3 WHERE id = $1 AND workspace_id = $2";
    let parameters =
        [(&id as _, Type::UUID), (&workspace as _, Type::UUID), (&name as _, Type::TEXT)];
    match client.execute_typed(sql, &parameters).await.map_err(|error| clash(error, name))? {
        0 => Err(not_found("the workspace has no such project".into())),
        _ => Ok(()),
    }
}

pub(super) async fn rename_webhook(
    client: &Object,
    id: WebhookId,
    name: &str,
) -> Result<(), AdminError> {
    let uuid = id.uuid();
    let sql = "UPDATE webhooks SET name = $2 WHERE id = $1";
    let parameters = [(&uuid as _, Type::UUID), (&name as _, Type::TEXT)];
    match client.execute_typed(sql, &parameters).await.map_err(away)? {
        0 => Err(no_webhook(id)),
        _ => Ok(()),
    }
}

/// Gives a member another role, or, without one, ends the membership.
pub(super) async fn set_role(
    client: &mut Object,
    workspace: WorkspaceId,
    email: &Email,
    role: Option<Role>,
) -> Result<(), AdminError> {
    let transaction = client.transaction().await.map_err(away)?;
    let (workspace, address) = (workspace.uuid(), email.as_str());
    // All owners are locked, so that two of them can't leave at once.
    let sql = "SELECT id, email, role FROM members
               WHERE workspace_id = $1 AND ended_at IS NULL AND (email = $2 OR role = 'owner')
               ORDER BY id FOR UPDATE";
    let parameters = [(&workspace as _, Type::UUID), (&address as _, Type::TEXT)];
    let rows = transaction.query_typed(sql, &parameters).await.map_err(away)?;
    let Some(id) = rows.iter().find(|row| row.get::<_, &str>(1) == address) else {
        return Err(not_found(format!("{email} is no member of the workspace")));
    };
    let id: Uuid = id.get(0);
    let mut owners = rows.iter().filter(|row| row.get::<_, &str>(2) == Role::Owner.as_str());
    if role != Some(Role::Owner) && owners.all(|row| row.get::<_, Uuid>(0) == id) {
        return Err(last_owner(email));
    }
    match role {
        Some(role) => {
            let (sql, role) = ("UPDATE members SET role = $2 WHERE id = $1", role.as_str());
            let parameters = [(&id as _, Type::UUID), (&role as _, Type::TEXT)];
            transaction.execute_typed(sql, &parameters).await.map_err(away)?;
        }
        None => {
            // Who comes back is invited anew.
            for sql in [
                "UPDATE members SET ended_at = now(), password_hash = NULL WHERE id = $1",
                "DELETE FROM sessions WHERE member_id = $1",
                "DELETE FROM invitations WHERE member_id = $1",
            ] {
                transaction.execute_typed(sql, &[(&id, Type::UUID)]).await.map_err(away)?;
            }
        }
    }
    transaction.commit().await.map_err(away)
}

fn last_owner(email: &Email) -> AdminError {
    conflict(format!("{email} is the workspace's only owner: make somebody else an owner first"))
}

fn clash(error: tokio_postgres::Error, name: &str) -> AdminError {
    match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => conflict(format!("{name:?} is taken already")),
        _ => away(error),
    }
}
