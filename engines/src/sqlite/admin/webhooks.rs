//! Webhooks on SQLite: list, create, rotate, revoke.
//!
//! Each change that gateways must learn of takes the next revision in the same transaction.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};
use trailpad_common::admin::{AdminError, Conflict, Missing, NewWebhook, Webhook};
use trailpad_common::email::Email;
use trailpad_common::id::{WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::REGISTRY_WEBHOOKS_MAX;
use trailpad_common::webhook::token::{PresentedToken, PublicId};
use uuid::Uuid;

use super::lists::{all, optional_timestamp, timestamp};
use super::{execute, micros, store_unavailable};

const WEBHOOKS: &str = "
SELECT w.id, k.id AS workspace_id, k.name AS workspace, p.name AS project, w.name,
       m.email AS creator, w.public_id, w.created_at, w.revoked_at, w.revision
FROM webhooks w
JOIN projects p ON p.id = w.project_id
JOIN workspaces k ON k.id = p.workspace_id
JOIN members m ON m.id = w.creator_id
WHERE (?1 IS NULL OR k.id = ?1) AND (?2 IS NULL OR w.id = ?2)
ORDER BY w.created_at DESC, w.id DESC
";

/// Inserts no row unless the project and the creator belong to the workspace and have not ended.
const CREATE: &str = "
INSERT INTO webhooks (id, project_id, creator_id, name, public_id, secret_hash, created_at, revision)
SELECT ?1, p.id, m.id, ?5, ?6, ?7, ?8, ?9
FROM projects p
JOIN members m ON m.workspace_id = p.workspace_id AND m.id = ?4 AND m.ended_at IS NULL
WHERE p.id = ?3 AND p.workspace_id = ?2 AND p.ended_at IS NULL
";

const ROTATE: &str = "
UPDATE webhooks SET previous_secret_hash = secret_hash, previous_valid_until = ?3,
                    secret_hash = ?4, revision = ?5
WHERE id = ?1 AND revision = ?2 AND revoked_at IS NULL
";

const REVOKE: &str =
    "UPDATE webhooks SET revoked_at = ?2, revision = ?3 WHERE id = ?1 AND revoked_at IS NULL";

/// Lists the webhooks of a workspace, or the webhook with `id`, or all.
pub(super) fn list(
    connection: &Connection,
    workspace: Option<WorkspaceId>,
    id: Option<WebhookId>,
) -> Result<Vec<Webhook>, AdminError> {
    let values = params![workspace.map(|id| id.uuid()), id.map(|id| id.uuid())];
    all(connection, WEBHOOKS, values, webhook)
}

pub(super) fn find(connection: &Connection, id: WebhookId) -> Result<Webhook, AdminError> {
    list(connection, None, Some(id))?.into_iter().next().ok_or_else(|| Missing::Webhook(id).into())
}

pub(super) fn create(
    transaction: &Transaction<'_>,
    new: &NewWebhook,
) -> Result<Webhook, AdminError> {
    check_limit(transaction)?;
    let id = WebhookId::generate();
    let revision = next_revision(transaction)?;
    let values = params![
        id.uuid(),
        new.workspace_id.uuid(),
        new.project_id.uuid(),
        new.creator_id.uuid(),
        new.name,
        new.token.public_id.as_str(),
        new.token.secret_hash.as_bytes(),
        micros(Timestamp::now()),
        revision,
    ];
    match execute(transaction, CREATE, values)? {
        0 => Err(Missing::ProjectOrMember.into()),
        _ => find(transaction, id),
    }
}

pub(super) fn rotate(
    transaction: &Transaction<'_>,
    id: WebhookId,
    since: i64,
    token: PresentedToken,
    old_valid_until: Timestamp,
) -> Result<Webhook, AdminError> {
    let revision = next_revision(transaction)?;
    let hash = token.secret_hash.as_bytes();
    let values = params![id.uuid(), since, micros(old_valid_until), hash, revision];
    let changed = execute(transaction, ROTATE, values)?;
    let webhook = find(transaction, id)?;
    match changed {
        0 => Err(webhook.rotation_conflict().into()),
        _ => Ok(webhook),
    }
}

pub(super) fn revoke(transaction: &Transaction<'_>, id: WebhookId) -> Result<Webhook, AdminError> {
    let revision = next_revision(transaction)?;
    execute(transaction, REVOKE, params![id.uuid(), micros(Timestamp::now()), revision])?;
    find(transaction, id)
}

/// Increments the revision counter.
fn next_revision(transaction: &Transaction<'_>) -> Result<i64, AdminError> {
    let sql = "UPDATE directory_revision SET revision = revision + 1 RETURNING revision";
    transaction.query_row(sql, [], |row| row.get(0)).map_err(store_unavailable)
}

fn check_limit(transaction: &Transaction<'_>) -> Result<(), AdminError> {
    let sql = "SELECT count(*) FROM webhooks";
    let count: i64 = transaction.query_row(sql, [], |row| row.get(0)).map_err(store_unavailable)?;
    if count < REGISTRY_WEBHOOKS_MAX {
        return Ok(());
    }
    Err(Conflict::WebhookLimit(count).into())
}

fn webhook(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let column = row.as_ref().column_index("public_id")?;
    let public_id = PublicId::parse(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })?;
    Ok(Webhook {
        id: row.get::<_, Uuid>("id")?.into(),
        workspace_id: row.get::<_, Uuid>("workspace_id")?.into(),
        workspace: row.get("workspace")?,
        project: row.get("project")?,
        name: row.get("name")?,
        creator: Email::folded(row.get_ref("creator")?.as_str()?),
        public_id,
        created_at: timestamp(row, "created_at")?,
        revoked_at: optional_timestamp(row, "revoked_at")?,
        revision: row.get("revision")?,
    })
}
