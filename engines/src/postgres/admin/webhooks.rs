//! Webhooks on PostgreSQL: list, create, rotate, revoke.
//!
//! Each change that gateways must learn of takes the next revision in the same transaction.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use trailpad_common::admin::{AdminError, Conflict, Missing, NewWebhook, Webhook};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::REGISTRY_WEBHOOKS_MAX;
use trailpad_common::webhook::token::{PresentedToken, PublicId};
use uuid::Uuid;

use super::{optional_timestamp, store_unavailable, timestamp};

const WEBHOOKS: &str = "
SELECT w.id, k.id AS workspace_id, k.name AS workspace, p.name AS project, w.name,
       m.email AS creator, w.public_id, w.created_at, w.revoked_at, w.revision
FROM webhooks w
JOIN projects p ON p.id = w.project_id
JOIN workspaces k ON k.id = p.workspace_id
JOIN members m ON m.id = w.creator_id
WHERE ($1::uuid IS NULL OR k.id = $1) AND ($2::uuid IS NULL OR w.id = $2)
ORDER BY w.created_at DESC, w.id DESC
";

/// Inserts no row unless the project and the creator belong to the workspace and have not ended.
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

/// Lists the webhooks of a workspace, or the webhook with `id`, or all.
pub(super) async fn list(
    client: &Object,
    workspace: Option<WorkspaceId>,
    id: Option<WebhookId>,
) -> Result<Vec<Webhook>, AdminError> {
    let workspace = workspace.map(|id| id.uuid());
    let id = id.map(|id| id.uuid());
    let parameters = [(&workspace as _, Type::UUID), (&id as _, Type::UUID)];
    let rows = client.query_typed(WEBHOOKS, &parameters).await.map_err(store_unavailable)?;
    rows.iter().map(webhook).collect()
}

pub(super) async fn find(client: &Object, id: WebhookId) -> Result<Webhook, AdminError> {
    list(client, None, Some(id))
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| Missing::Webhook(id).into())
}

pub(super) async fn create(client: &mut Object, new: &NewWebhook) -> Result<Webhook, AdminError> {
    let transaction = client.transaction().await.map_err(store_unavailable)?;
    let revision = next_revision(&transaction).await?;
    check_limit(&transaction).await?;
    let id = WebhookId::generate();
    let uuid = id.uuid();
    let workspace = new.workspace_id.uuid();
    let project = new.project_id.uuid();
    let creator = new.creator_id.uuid();
    let public_id = new.token.public_id.as_str();
    let secret_hash = new.token.secret_hash.as_bytes();
    let parameters = [
        (&uuid as _, Type::UUID),
        (&workspace as _, Type::UUID),
        (&project as _, Type::UUID),
        (&creator as _, Type::UUID),
        (&new.name as _, Type::TEXT),
        (&public_id as _, Type::TEXT),
        (&secret_hash as _, Type::BYTEA),
        (&revision as _, Type::INT8),
    ];
    if transaction.execute_typed(CREATE, &parameters).await.map_err(store_unavailable)? == 0 {
        return Err(Missing::ProjectOrMember.into());
    }
    transaction.commit().await.map_err(store_unavailable)?;
    find(client, id).await
}

pub(super) async fn rotate(
    client: &mut Object,
    id: WebhookId,
    since: i64,
    token: PresentedToken,
    old_valid_until: Timestamp,
) -> Result<Webhook, AdminError> {
    let transaction = client.transaction().await.map_err(store_unavailable)?;
    let revision = next_revision(&transaction).await?;
    let uuid = id.uuid();
    let until = old_valid_until.to_datetime();
    let hash = token.secret_hash.as_bytes();
    let parameters = [
        (&uuid as _, Type::UUID),
        (&since as _, Type::INT8),
        (&until as _, Type::TIMESTAMPTZ),
        (&hash as _, Type::BYTEA),
        (&revision as _, Type::INT8),
    ];
    let changed =
        transaction.execute_typed(ROTATE, &parameters).await.map_err(store_unavailable)?;
    if changed == 0 {
        transaction.rollback().await.map_err(store_unavailable)?;
        return Err(find(client, id).await?.rotation_conflict().into());
    }
    transaction.commit().await.map_err(store_unavailable)?;
    find(client, id).await
}

pub(super) async fn revoke(client: &mut Object, id: WebhookId) -> Result<Webhook, AdminError> {
    let transaction = client.transaction().await.map_err(store_unavailable)?;
    let revision = next_revision(&transaction).await?;
    let uuid = id.uuid();
    let parameters = [(&uuid as _, Type::UUID), (&revision as _, Type::INT8)];
    transaction.execute_typed(REVOKE, &parameters).await.map_err(store_unavailable)?;
    transaction.commit().await.map_err(store_unavailable)?;
    find(client, id).await
}

/// Increments the revision counter, whose row stays locked until the commit.
async fn next_revision(transaction: &Transaction<'_>) -> Result<i64, AdminError> {
    let sql = "UPDATE directory_revision SET revision = revision + 1 RETURNING revision";
    Ok(transaction.query_typed_one(sql, &[]).await.map_err(store_unavailable)?.get(0))
}

/// Must run after [`next_revision`]: the lock on the counter's row keeps others from adding
/// webhooks.
async fn check_limit(transaction: &Transaction<'_>) -> Result<(), AdminError> {
    let count = transaction.query_typed_one("SELECT count(*) FROM webhooks", &[]).await;
    let count: i64 = count.map_err(store_unavailable)?.get(0);
    if count < REGISTRY_WEBHOOKS_MAX {
        return Ok(());
    }
    Err(Conflict::WebhookLimit(count).into())
}

fn webhook(row: &Row) -> Result<Webhook, AdminError> {
    let public_id = PublicId::parse(row.get("public_id"))
        .map_err(|_| Unavailable("the public id of a webhook is damaged".into()))?;
    Ok(Webhook {
        id: row.get::<_, Uuid>("id").into(),
        workspace_id: row.get::<_, Uuid>("workspace_id").into(),
        workspace: row.get("workspace"),
        project: row.get("project"),
        name: row.get("name"),
        creator: Email::folded(row.get("creator")),
        public_id,
        created_at: timestamp(row, "created_at"),
        revoked_at: optional_timestamp(row, "revoked_at"),
        revision: row.get("revision"),
    })
}
