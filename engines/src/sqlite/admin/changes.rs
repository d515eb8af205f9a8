//! Changes of what is there: names and roles.

use rusqlite::{OptionalExtension, Transaction, params};
use trailpad_common::admin::{AdminError, Role};
use trailpad_common::email::Email;
use trailpad_common::id::{ProjectId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{away, conflict, execute, micros, not_found, webhooks};

pub(super) fn rename_workspace(
    transaction: &Transaction<'_>,
    workspace: WorkspaceId,
    name: &str,
) -> Result<(), AdminError> {
    // `OR IGNORE` leaves a name that is taken with whom it belongs to.
    let sql = "UPDATE OR IGNORE workspaces SET name = ?2 WHERE id = ?1";
    match execute(transaction, sql, params![workspace.uuid(), name])? {
        0 => Err(taken(name)),
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
    if !transaction.query_row(sql, values, |row| row.get(0)).map_err(away)? {
        return Err(not_found("the workspace has no such project".into()));
    }
    let sql = "UPDATE OR IGNORE projects SET name = ?2 WHERE id = ?1";
    match execute(transaction, sql, params![id.uuid(), name])? {
        0 => Err(taken(name)),
        _ => Ok(()),
    }
}

pub(super) fn rename_webhook(
    transaction: &Transaction<'_>,
    id: WebhookId,
    name: &str,
) -> Result<(), AdminError> {
    execute(transaction, "UPDATE webhooks SET name = ?2 WHERE id = ?1", params![id.uuid(), name])?;
    webhooks::one(transaction, id).map(|_| ())
}

/// Gives a member another role, or, without one, ends the membership.
pub(super) fn set_role(
    transaction: &Transaction<'_>,
    workspace: WorkspaceId,
    email: &Email,
    role: Option<Role>,
) -> Result<(), AdminError> {
    let sql = "SELECT id, NOT EXISTS (SELECT 1 FROM members o WHERE o.workspace_id = ?1
                   AND o.role = 'owner' AND o.ended_at IS NULL AND o.id <> m.id)
               FROM members m WHERE workspace_id = ?1 AND email = ?2 AND ended_at IS NULL";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Uuid>(0)?, row.get::<_, bool>(1)?));
    let found = transaction.query_row(sql, params![workspace.uuid(), email.as_str()], read);
    let Some((id, no_other_owner)) = found.optional().map_err(away)? else {
        return Err(not_found(format!("{email} is no member of the workspace")));
    };
    if role != Some(Role::Owner) && no_other_owner {
        return Err(conflict(format!(
            "{email} is the workspace's only owner: make somebody else an owner first"
        )));
    }
    match role {
        Some(role) => {
            let sql = "UPDATE members SET role = ?2 WHERE id = ?1";
            execute(transaction, sql, params![id, role.as_str()])?;
        }
        None => {
            // Who comes back is invited anew.
            let sql = "UPDATE members SET ended_at = ?2, password_hash = NULL WHERE id = ?1";
            execute(transaction, sql, params![id, micros(Timestamp::now())])?;
            execute(transaction, "DELETE FROM sessions WHERE member_id = ?1", [id])?;
            execute(transaction, "DELETE FROM invitations WHERE member_id = ?1", [id])?;
        }
    }
    Ok(())
}

fn taken(name: &str) -> AdminError {
    conflict(format!("{name:?} is taken already"))
}
