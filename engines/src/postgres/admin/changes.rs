//! Changes of names and roles.

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use trailpad_common::admin::{AdminError, Conflict, Missing, Role};
use trailpad_common::email::Email;
use trailpad_common::id::{ProjectId, WebhookId, WorkspaceId};
use uuid::Uuid;

use super::store_unavailable;

pub(super) async fn rename_workspace(
    client: &Object,
    workspace: WorkspaceId,
    name: &str,
) -> Result<(), AdminError> {
    let sql = "UPDATE workspaces SET name = $2 WHERE id = $1";
    let id = workspace.uuid();
    let parameters = [(&id as _, Type::UUID), (&name as _, Type::TEXT)];
    let renamed = client.execute_typed(sql, &parameters).await;
    renamed.map_err(|error| rename_error(error, Conflict::WorkspaceName(name.to_owned())))?;
    Ok(())
}

pub(super) async fn rename_project(
    client: &Object,
    workspace: WorkspaceId,
    id: ProjectId,
    name: &str,
) -> Result<(), AdminError> {
    let workspace = workspace.uuid();
    let id = id.uuid();
    let sql = "UPDATE projects SET name = $3 WHERE id = $1 AND workspace_id = $2";
    let parameters =
        [(&id as _, Type::UUID), (&workspace as _, Type::UUID), (&name as _, Type::TEXT)];
    let renamed = client.execute_typed(sql, &parameters).await;
    match renamed.map_err(|error| rename_error(error, Conflict::ProjectName(name.to_owned())))? {
        0 => Err(Missing::ProjectId.into()),
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
    match client.execute_typed(sql, &parameters).await.map_err(store_unavailable)? {
        0 => Err(Missing::Webhook(id).into()),
        _ => Ok(()),
    }
}

/// Changes the role of a member; `None` ends the membership.
pub(super) async fn set_role(
    client: &mut Object,
    workspace: WorkspaceId,
    email: &Email,
    role: Option<Role>,
) -> Result<(), AdminError> {
    let transaction = client.transaction().await.map_err(store_unavailable)?;
    let workspace = workspace.uuid();
    let address = email.as_str();
    // Locks all owners, so that the last two can't end their memberships concurrently.
    let sql = "SELECT id, email, role FROM members
               WHERE workspace_id = $1 AND ended_at IS NULL AND (email = $2 OR role = 'owner')
               ORDER BY id FOR UPDATE";
    let parameters = [(&workspace as _, Type::UUID), (&address as _, Type::TEXT)];
    let rows = transaction.query_typed(sql, &parameters).await.map_err(store_unavailable)?;
    let Some(member) = rows.iter().find(|row| row.get::<_, &str>("email") == address) else {
        return Err(Missing::Member(email.clone()).into());
    };
    let id: Uuid = member.get("id");
    let mut owners = rows.iter().filter(|row| row.get::<_, &str>("role") == Role::Owner.as_str());
    if role != Some(Role::Owner) && owners.all(|row| row.get::<_, Uuid>("id") == id) {
        return Err(Conflict::OnlyOwner(email.clone()).into());
    }
    match role {
        Some(role) => {
            let sql = "UPDATE members SET role = $2 WHERE id = $1";
            let role = role.as_str();
            let parameters = [(&id as _, Type::UUID), (&role as _, Type::TEXT)];
            transaction.execute_typed(sql, &parameters).await.map_err(store_unavailable)?;
        }
        None => {
            // A member who returns needs a new invitation.
            for sql in [
                "UPDATE members SET ended_at = now(), password_hash = NULL WHERE id = $1",
                "DELETE FROM sessions WHERE member_id = $1",
                "DELETE FROM invitations WHERE member_id = $1",
            ] {
                transaction
                    .execute_typed(sql, &[(&id, Type::UUID)])
                    .await
                    .map_err(store_unavailable)?;
            }
        }
    }
    transaction.commit().await.map_err(store_unavailable)
}

/// Converts an error of a statement that changes only a name, so that a unique violation means
/// `conflict`.
fn rename_error(error: tokio_postgres::Error, conflict: Conflict) -> AdminError {
    match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => conflict.into(),
        _ => store_unavailable(error),
    }
}
