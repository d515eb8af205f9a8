//! Webhooks: list, make, rotate, revoke. Whatever gateways have to know takes the next value of
//! the directory's counter in its own transaction.

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use trailpad_common::admin::{AdminError, NewWebhook, Webhook};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::REGISTRY_WEBHOOKS_MAX;
use trailpad_common::webhook::token::{PresentedToken, PublicId};
use uuid::Uuid;

use super::{at, away, conflict, not_found};

const WEBHOOKS: &str = "
SELECT w.id, k.id, k.name, p.name, w.name, m.email, w.public_id, w.created_at, w.revoked_at,
       w.revision
FROM webhooks w
JOIN projects p ON p.id = w.project_id
JOIN workspaces k ON k.id = p.workspace_id
JOIN members m ON m.id = w.creator_id
WHERE ($1::uuid IS NULL OR k.id = $1) AND ($2::uuid IS NULL OR w.id = $2)
ORDER BY w.created_at DESC, w.id DESC
";

/// Project and creator have to be of the workspace, and there.
const CREATE: &str = "
INSERT INTO webhooks (id, project_id, creator_id, name, public_id, secret_hash, revision)
SELECT $1, p.id, m.id, $5, $6, $7, $8
FROM projects p
JOIN members m ON m.workspace_id = p.workspace_id AND m.id = $4 AND m.ended_at IS NULL
WHERE p.id = $3 AND p.workspace_id = $2 AND p.ended_at IS NULL
";

const ROTATE: &str = "
UPDATE webhooks SET previous_secret_hash = secret_hash, previous_valid_until = $3,
                    secret_hash = $4, revision = $5
WHERE id = $1 AND revision = $2 AND revoked_at IS NULL
";

const REVOKE: &str =
    "UPDATE webhooks SET revoked_at = now(), revision = $2 WHERE id = $1 AND revoked_at IS NULL";

/// Those of a workspace, or the one of an identifier, or all.
pub(super) async fn list(
    client: &Object,
    workspace: Option<WorkspaceId>,
    id: Option<WebhookId>,
) -> Result<Vec<Webhook>, AdminError> {
    let (workspace, id) = (workspace.map(|id| id.uuid()), id.map(|id| id.uuid()));
    let parameters = [(&workspace as _, Type::UUID), (&id as _, Type::UUID)];
    let rows = client.query_typed(WEBHOOKS, &parameters).await.map_err(away)?;
    rows.iter().map(webhook).collect()
}

pub(super) async fn one(client: &Object, id: WebhookId) -> Result<Webhook, AdminError> {
    list(client, None, Some(id)).await?.into_iter().next().ok_or_else(|| no_webhook(id))
}

pub(super) async fn create(client: &mut Object, new: &NewWebhook) -> Result<Webhook, AdminError> {
    let transaction = client.transaction().await.map_err(away)?;
    let revision = next_revision(&transaction).await?;
    check_room(&transaction).await?;
    let id = WebhookId::generate();
    let uuids = (id.uuid(), new.workspace_id.uuid(), new.project_id.uuid(), new.creator_id.uuid());
    let public_id = new.token.public_id.as_str();
    let secret_hash = new.token.secret_hash.as_bytes();
    let parameters = [
        (&uuids.0 as _, Type::UUID),
        (&uuids.1 as _, Type::UUID),
        (&uuids.2 as _, Type::UUID),
        (&uuids.3 as _, Type::UUID),
        (&new.name as _, Type::TEXT),
        (&public_id as _, Type::TEXT),
        (&secret_hash as _, Type::BYTEA),
        (&revision as _, Type::INT8),
    ];
    if transaction.execute_typed(CREATE, &parameters).await.map_err(away)? == 0 {
        return Err(not_found("the workspace has no such project, or no such member".into()));
    }
    transaction.commit().await.map_err(away)?;
    one(client, id).await
}

pub(super) async fn rotate(
    client: &mut Object,
    id: WebhookId,
    since: i64,
    token: PresentedToken,
    old_valid_until: Timestamp,
) -> Result<Webhook, AdminError> {
    let transaction = client.transaction().await.map_err(away)?;
    let revision = next_revision(&transaction).await?;
    let (uuid, until) = (id.uuid(), old_valid_until.to_datetime());
    let hash = token.secret_hash.as_bytes();
    let parameters = [
        (&uuid as _, Type::UUID),
        (&since as _, Type::INT8),
        (&until as _, Type::TIMESTAMPTZ),
        (&hash as _, Type::BYTEA),
        (&revision as _, Type::INT8),
    ];
    let changed = transaction.execute_typed(ROTATE, &parameters).await.map_err(away)?;
    if changed == 0 {
        transaction.rollback().await.map_err(away)?;
        return Err(conflict(one(client, id).await?.why_not_rotated()));
    }
    transaction.commit().await.map_err(away)?;
    one(client, id).await
}

pub(super) async fn revoke(client: &mut Object, id: WebhookId) -> Result<Webhook, AdminError> {
    let transaction = client.transaction().await.map_err(away)?;
    let revision = next_revision(&transaction).await?;
    let uuid = id.uuid();
    let parameters = [(&uuid as _, Type::UUID), (&revision as _, Type::INT8)];
    transaction.execute_typed(REVOKE, &parameters).await.map_err(away)?;
    transaction.commit().await.map_err(away)?;
    one(client, id).await
}

/// The next value of the directory's counter; its row stays locked until the commit.
async fn next_revision(transaction: &Transaction<'_>) -> Result<i64, AdminError> {
    let sql = "UPDATE directory_revision SET revision = revision + 1 RETURNING revision";
    Ok(transaction.query_typed_one(sql, &[]).await.map_err(away)?.get(0))
}

/// Counted under the counter's lock, so that nobody adds one meanwhile.
async fn check_room(transaction: &Transaction<'_>) -> Result<(), AdminError> {
    let count = transaction.query_typed_one("SELECT count(*) FROM webhooks", &[]).await;
    let count: i64 = count.map_err(away)?.get(0);
    if count < REGISTRY_WEBHOOKS_MAX {
        return Ok(());
    }
    Err(conflict(format!("there are {count} webhooks, which is as many as a gateway holds")))
}

fn webhook(row: &Row) -> Result<Webhook, AdminError> {
    let public_id = PublicId::parse(row.get(6))
        .map_err(|_| Unavailable("a webhook's public id is damaged".into()))?;
    Ok(Webhook {
        id: row.get::<_, Uuid>(0).into(),
        workspace_id: row.get::<_, Uuid>(1).into(),
        workspace: row.get(2),
        project: row.get(3),
        name: row.get(4),
        creator: Email::folded(row.get(5)),
        public_id,
        created_at: at(row, 7),
        revoked_at: row.get::<_, Option<DateTime<Utc>>>(8).map(Into::into),
        revision: row.get(9),
    })
}

pub(super) fn no_webhook(id: WebhookId) -> AdminError {
    not_found(format!("there is no webhook {id}: `trailpad webhook list` shows them all"))
}
