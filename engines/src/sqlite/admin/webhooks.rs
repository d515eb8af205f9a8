//! Webhooks: list, make, rotate, revoke. Whatever gateways have to know takes the next value of
//! the directory's counter in its own transaction.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};
use trailpad_common::admin::{AdminError, NewWebhook, Webhook};
use trailpad_common::email::Email;
use trailpad_common::id::{WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::REGISTRY_WEBHOOKS_MAX;
use trailpad_common::webhook::token::{PresentedToken, PublicId};
use uuid::Uuid;

use super::lists::all;
use super::{away, conflict, execute, micros, not_found};

const WEBHOOKS: &str = "
SELECT w.id, k.id, k.name, p.name, w.name, m.email, w.public_id, w.created_at, w.revoked_at,
       w.revision
FROM webhooks w
JOIN projects p ON p.id = w.project_id
JOIN workspaces k ON k.id = p.workspace_id
JOIN members m ON m.id = w.creator_id
WHERE (?1 IS NULL OR k.id = ?1) AND (?2 IS NULL OR w.id = ?2)
ORDER BY w.created_at DESC, w.id DESC
";

/// Project and creator have to be of the workspace, and there.
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

/// Those of a workspace, or the one of an identifier, or all.
pub(super) fn list(
    connection: &Connection,
    workspace: Option<WorkspaceId>,
    id: Option<WebhookId>,
) -> Result<Vec<Webhook>, AdminError> {
    let values = params![workspace.map(|id| id.uuid()), id.map(|id| id.uuid())];
    all(connection, WEBHOOKS, values, webhook)
}

pub(super) fn one(connection: &Connection, id: WebhookId) -> Result<Webhook, AdminError> {
    list(connection, None, Some(id))?.into_iter().next().ok_or_else(|| {
        not_found(format!("there is no webhook {id}: `trailpad webhook list` shows them all"))
    })
}

pub(super) fn create(
    transaction: &Transaction<'_>,
    new: &NewWebhook,
) -> Result<Webhook, AdminError> {
    check_room(transaction)?;
    let (id, revision) = (WebhookId::generate(), next_revision(transaction)?);
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
        0 => Err(not_found("the workspace has no such project, or no such member".into())),
        _ => one(transaction, id),
    }
}

pub(super) fn rotate(
    transaction: &Transaction<'_>,
    id: WebhookId,
    since: i64,
    token: PresentedToken,
    old_valid_until: Timestamp,
) -> Result<Webhook, AdminError> {
    let (revision, hash) = (next_revision(transaction)?, token.secret_hash.as_bytes());
    let values = params![id.uuid(), since, micros(old_valid_until), hash, revision];
    let changed = execute(transaction, ROTATE, values)?;
    let webhook = one(transaction, id)?;
    match changed {
        0 => Err(conflict(webhook.why_not_rotated())),
        _ => Ok(webhook),
    }
}

pub(super) fn revoke(transaction: &Transaction<'_>, id: WebhookId) -> Result<Webhook, AdminError> {
    let revision = next_revision(transaction)?;
    execute(transaction, REVOKE, params![id.uuid(), micros(Timestamp::now()), revision])?;
    one(transaction, id)
}

/// The next value of the directory's counter.
fn next_revision(transaction: &Transaction<'_>) -> Result<i64, AdminError> {
    let sql = "UPDATE directory_revision SET revision = revision + 1 RETURNING revision";
    transaction.query_row(sql, [], |row| row.get(0)).map_err(away)
}

fn check_room(transaction: &Transaction<'_>) -> Result<(), AdminError> {
    let sql = "SELECT count(*) FROM webhooks";
    let count: i64 = transaction.query_row(sql, [], |row| row.get(0)).map_err(away)?;
    if count < REGISTRY_WEBHOOKS_MAX {
        return Ok(());
    }
    Err(conflict(format!("there are {count} webhooks, which is as many as a gateway holds")))
}

fn webhook(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let public_id = PublicId::parse(row.get_ref(6)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(6, Type::Text, error.into()))?;
    Ok(Webhook {
        id: row.get::<_, Uuid>(0)?.into(),
        workspace_id: row.get::<_, Uuid>(1)?.into(),
        workspace: row.get(2)?,
        project: row.get(3)?,
        name: row.get(4)?,
        creator: Email::folded(row.get_ref(5)?.as_str()?),
        public_id,
        created_at: Timestamp::from_unix_micros(row.get(7)?),
        revoked_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_unix_micros),
        revision: row.get(9)?,
    })
}
