//! Changes of names and roles.

use rusqlite::{OptionalExtension, Transaction, params};
use trailpad_common::admin::{AdminError, Conflict, Missing, Role};
use trailpad_common::email::Email;
use trailpad_common::id::{ProjectId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{execute, micros, store_unavailable, webhooks};

pub(super) fn rename_workspace(
    transaction: &Transaction<'_>,
    workspace: WorkspaceId,
    name: &str,
) -> Result<(), AdminError> {
    // `OR IGNORE` updates no row if another workspace has the name.
    let sql = "UPDATE OR IGNORE workspaces SET name = ?2 WHERE id = ?1";
    match execute(transaction, sql, params![workspace.uuid(), name])? {
        0 => Err(Conflict::WorkspaceName(name.to_owned()).into()),
        _ => Ok(()),
    }
}

pub(super) fn rename_project(
    transaction: &Transaction<'_>,
    workspace: WorkspaceId,
    id: ProjectId,
    name: &str,
) -> Result<(), AdminError> {
    let values = params![id.uuid(), workspace.uuid()];
    let sql = "SELECT EXISTS (SELECT 1 FROM projects WHERE id = ?1 AND workspace_id = ?2)";
    if !transaction.query_row(sql, values, |row| row.get(0)).map_err(store_unavailable)? {
        return Err(Missing::ProjectId.into());
    }
    let sql = "UPDATE OR IGNORE projects SET name = ?2 WHERE id = ?1";
    match execute(transaction, sql, params![id.uuid(), name])? {
        0 => Err(Conflict::ProjectName(name.to_owned()).into()),
        _ => Ok(()),
    }
}

pub(super) fn rename_webhook(
    transaction: &Transaction<'_>,
    id: WebhookId,
    name: &str,
) -> Result<(), AdminError> {
    execute(transaction, "UPDATE webhooks SET name = ?2 WHERE id = ?1", params![id.uuid(), name])?;
    webhooks::find(transaction, id).map(|_| ())
}

/// Changes the role of a member; `None` ends the membership.
pub(super) fn set_role(
    transaction: &Transaction<'_>,
    workspace: WorkspaceId,
    email: &Email,
    role: Option<Role>,
) -> Result<(), AdminError> {
    let sql = "SELECT id, NOT EXISTS (SELECT 1 FROM members o WHERE o.workspace_id = ?1
                   AND o.role = 'owner' AND o.ended_at IS NULL AND o.id <> m.id) AS no_other_owner
               FROM members m WHERE workspace_id = ?1 AND email = ?2 AND ended_at IS NULL";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, Uuid>("id")?, row.get::<_, bool>("no_other_owner")?))
    };
    let found = transaction.query_row(sql, params![workspace.uuid(), email.as_str()], read);
    let Some((id, no_other_owner)) = found.optional().map_err(store_unavailable)? else {
        return Err(Missing::Member(email.clone()).into());
    };
    if role != Some(Role::Owner) && no_other_owner {
        return Err(Conflict::OnlyOwner(email.clone()).into());
    }
    match role {
        Some(role) => {
            let sql = "UPDATE members SET role = ?2 WHERE id = ?1";
            execute(transaction, sql, params![id, role.as_str()])?;
        }
        None => {
            // A member who returns needs a new invitation.
            let sql = "UPDATE members SET ended_at = ?2, password_hash = NULL WHERE id = ?1";
            execute(transaction, sql, params![id, micros(Timestamp::now())])?;
            execute(transaction, "DELETE FROM sessions WHERE member_id = ?1", [id])?;
            execute(transaction, "DELETE FROM invitations WHERE member_id = ?1", [id])?;
        }
    }
    Ok(())
}
