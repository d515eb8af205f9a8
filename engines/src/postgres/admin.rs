//! Administration on PostgreSQL: workspaces, members, projects and webhooks.

mod arrivals;
mod changes;
mod dead_letters;
mod lists;
mod retention;
mod sign_in;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, Transaction};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use trailpad_common::admin::{
    ActivityFilter, Admin, AdminError, Member, NewWebhook, Project, Role, StoredActivity, Webhook,
    Workspace,
};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, ProjectId, WebhookId, WorkspaceId};
use trailpad_common::instant::Instant;
use trailpad_common::ports::DIRECTORY_WEBHOOKS_MAX;
use trailpad_common::token::PresentedToken;
use uuid::Uuid;

use super::connect::{Config, get};
use super::error::unavailable;

/// Enough for the pages of a dashboard; they are made when they are needed.
const CONNECTIONS: usize = 4;

/// Administration in PostgreSQL.
pub struct PostgresAdmin {
    pool: Pool,
}

impl PostgresAdmin {
    /// Connects when it is first asked.
    pub fn new(config: &Config) -> Self {
        Self { pool: config.pool(CONNECTIONS) }
    }

    async fn client(&self) -> Result<Object, AdminError> {
        Ok(get(&self.pool).await?)
    }
}

#[async_trait]
impl Admin for PostgresAdmin {
    async fn create_workspace(
        &self,
        name: &str,
        owner: &Email,
    ) -> Result<(Workspace, Member), AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let id = WorkspaceId::generate().uuid();
        let sql = "INSERT INTO workspaces (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING created_at";
        let parameters = [(&id as _, Type::UUID), (&name as _, Type::TEXT)];
        let made = transaction.query_typed_opt(sql, &parameters).await.map_err(away)?;
        let Some(made) = made else {
            return Err(conflict(format!("there is a workspace named {name:?} already")));
        };
        let member = insert_member(&transaction, id, owner, Role::Owner).await?;
        transaction.commit().await.map_err(away)?;
        let workspace =
            Workspace { id: id.into(), name: name.to_owned(), created_at: at(&made, 0) };
        Ok((workspace, member))
    }

    async fn add_member(
        &self,
        workspace: &str,
        email: &Email,
        role: Role,
    ) -> Result<Member, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let workspace_id = workspace_id(&transaction, workspace).await?;
        let member = insert_member(&transaction, workspace_id, email, role).await?;
        transaction.commit().await.map_err(away)?;
        Ok(member)
    }

    async fn rename_workspace(&self, workspace: &str, name: &str) -> Result<(), AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        changes::rename_workspace(&transaction, workspace, name).await?;
        transaction.commit().await.map_err(away)
    }

    async fn set_role(&self, workspace: &str, email: &Email, role: Role) -> Result<(), AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        changes::set_role(&transaction, workspace, email, Some(role)).await?;
        transaction.commit().await.map_err(away)
    }

    async fn end_member(&self, workspace: &str, email: &Email) -> Result<(), AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        changes::set_role(&transaction, workspace, email, None).await?;
        transaction.commit().await.map_err(away)
    }

    async fn members(&self, workspace: &str) -> Result<Vec<Member>, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let id = workspace_id(&transaction, workspace).await?;
        let sql = "SELECT id, email, role, created_at FROM members
                   WHERE workspace_id = $1 AND ended_at IS NULL ORDER BY email";
        let rows = transaction.query_typed(sql, &[(&id, Type::UUID)]).await.map_err(away)?;
        Ok(rows.iter().map(member).collect())
    }

    async fn create_project(&self, workspace: &str, name: &str) -> Result<Project, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let workspace_id = workspace_id(&transaction, workspace).await?;
        let sql = "INSERT INTO projects (id, workspace_id, name) VALUES ($1, $2, $3)
                   ON CONFLICT DO NOTHING RETURNING id, name, created_at";
        let id = ProjectId::generate().uuid();
        let parameters =
            [(&id as _, Type::UUID), (&workspace_id as _, Type::UUID), (&name as _, Type::TEXT)];
        let made = transaction.query_typed_opt(sql, &parameters).await.map_err(away)?;
        let Some(made) = made else {
            return Err(conflict(format!(
                "workspace {workspace:?} has a project named {name:?} already"
            )));
        };
        transaction.commit().await.map_err(away)?;
        Ok(project(&made))
    }

    async fn rename_project(
        &self,
        workspace: &str,
        id: ProjectId,
        name: &str,
    ) -> Result<(), AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        changes::rename_project(&transaction, workspace, id, name).await?;
        transaction.commit().await.map_err(away)
    }

    async fn projects(&self, workspace: &str) -> Result<Vec<Project>, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let id = workspace_id(&transaction, workspace).await?;
        let sql = "SELECT id, name, created_at FROM projects
                   WHERE workspace_id = $1 AND ended_at IS NULL ORDER BY name";
        let rows = transaction.query_typed(sql, &[(&id, Type::UUID)]).await.map_err(away)?;
        Ok(rows.iter().map(project).collect())
    }

    async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let workspace_id = workspace_id(&transaction, &new.workspace).await?;
        let project_id = project_id(&transaction, workspace_id, new).await?;
        let creator_id = creator_id(&transaction, workspace_id, new).await?;
        let revision = next_revision(&transaction).await?;
        check_room(&transaction).await?;
        let id = WebhookId::generate();
        let (uuid, public_id) = (id.uuid(), new.token.public_id.as_str());
        let secret_hash = new.token.secret_hash.as_bytes();
        let sql = "INSERT INTO webhooks (id, project_id, creator_id, name, public_id, secret_hash, revision)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let parameters = [
            (&uuid as _, Type::UUID),
            (&project_id as _, Type::UUID),
            (&creator_id as _, Type::UUID),
            (&new.name as _, Type::TEXT),
            (&public_id as _, Type::TEXT),
            (&secret_hash as _, Type::BYTEA),
            (&revision as _, Type::INT8),
        ];
        transaction.execute_typed(sql, &parameters).await.map_err(away)?;
        transaction.commit().await.map_err(away)?;
        // Whoever asks for a second connection while holding one may wait for ever.
        drop(client);
        self.webhook(id).await
    }

    async fn webhooks(&self, workspace: Option<&str>) -> Result<Vec<Webhook>, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        if let Some(name) = workspace {
            workspace_id(&transaction, name).await?;
        }
        lists::webhooks(&transaction, workspace, None).await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let found = lists::webhooks(&transaction, None, Some(id)).await?;
        found.into_iter().next().ok_or_else(|| no_webhook(id))
    }

    async fn rename_webhook(&self, id: WebhookId, name: &str) -> Result<(), AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        changes::rename_webhook(&transaction, id, name).await?;
        transaction.commit().await.map_err(away)
    }

    async fn rotate_webhook(
        &self,
        id: WebhookId,
        token: PresentedToken,
        old_valid_until: Instant,
    ) -> Result<Webhook, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let revision = next_revision(&transaction).await?;
        let (uuid, until, hash) =
            (id.uuid(), old_valid_until.to_datetime(), token.secret_hash.as_bytes());
        let sql =
            "UPDATE webhooks SET previous_secret_hash = secret_hash, previous_valid_until = $2,
                          secret_hash = $3, revision = $4
                   WHERE id = $1 AND revoked_at IS NULL";
        let parameters = [
            (&uuid as _, Type::UUID),
            (&until as _, Type::TIMESTAMPTZ),
            (&hash as _, Type::BYTEA),
            (&revision as _, Type::INT8),
        ];
        let changed = transaction.execute_typed(sql, &parameters).await.map_err(away)?;
        if changed == 0 {
            drop(transaction);
            drop(client);
            let webhook = self.webhook(id).await?;
            return Err(conflict(format!(
                "webhook {:?} is revoked, which is for ever: create a new one",
                webhook.name
            )));
        }
        transaction.commit().await.map_err(away)?;
        // Whoever asks for a second connection while holding one may wait for ever.
        drop(client);
        self.webhook(id).await
    }

    async fn revoke_webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let revision = next_revision(&transaction).await?;
        let sql = "UPDATE webhooks SET revoked_at = now(), revision = $2
                   WHERE id = $1 AND revoked_at IS NULL";
        let uuid = id.uuid();
        let parameters = [(&uuid as _, Type::UUID), (&revision as _, Type::INT8)];
        transaction.execute_typed(sql, &parameters).await.map_err(away)?;
        transaction.commit().await.map_err(away)?;
        // Whoever asks for a second connection while holding one may wait for ever.
        drop(client);
        self.webhook(id).await
    }

    async fn activities(&self, filter: &ActivityFilter) -> Result<Vec<StoredActivity>, AdminError> {
        lists::activities(&self.client().await?, filter).await
    }
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
    if count < DIRECTORY_WEBHOOKS_MAX {
        return Ok(());
    }
    Err(conflict(format!("there are {count} webhooks, which is as many as a gateway holds")))
}

async fn insert_member(
    transaction: &Transaction<'_>,
    workspace_id: Uuid,
    email: &Email,
    role: Role,
) -> Result<Member, AdminError> {
    let sql = "INSERT INTO members (id, workspace_id, email, role) VALUES ($1, $2, $3, $4)
               ON CONFLICT (workspace_id, email) DO UPDATE SET ended_at = NULL, role = excluded.role
               WHERE members.ended_at IS NOT NULL
               RETURNING id, email, role, created_at";
    let (id, address, role) = (MemberId::generate().uuid(), email.as_str(), role.as_str());
    let parameters = [
        (&id as _, Type::UUID),
        (&workspace_id as _, Type::UUID),
        (&address as _, Type::TEXT),
        (&role as _, Type::TEXT),
    ];
    let made = transaction.query_typed_opt(sql, &parameters).await.map_err(away)?;
    made.as_ref().map(member).ok_or_else(|| conflict(format!("{email} is a member already")))
}

async fn workspace_id(transaction: &Transaction<'_>, name: &str) -> Result<Uuid, AdminError> {
    let sql = "SELECT id FROM workspaces WHERE name = $1 AND ended_at IS NULL";
    let found = transaction.query_typed_opt(sql, &[(&name, Type::TEXT)]).await.map_err(away)?;
    found.map(|row| row.get(0)).ok_or_else(|| {
        not_found(format!(
            "there is no workspace named {name:?}: make it with `trailpad workspace create`"
        ))
    })
}

async fn project_id(
    transaction: &Transaction<'_>,
    workspace_id: Uuid,
    new: &NewWebhook,
) -> Result<Uuid, AdminError> {
    let sql = "SELECT id FROM projects WHERE workspace_id = $1 AND name = $2 AND ended_at IS NULL";
    let parameters = [(&workspace_id as _, Type::UUID), (&new.project as _, Type::TEXT)];
    let found = transaction.query_typed_opt(sql, &parameters).await.map_err(away)?;
    found.map(|row| row.get(0)).ok_or_else(|| {
        let (workspace, project) = (&new.workspace, &new.project);
        not_found(format!("workspace {workspace:?} has no project named {project:?}: make it with `trailpad project create`"))
    })
}

async fn creator_id(
    transaction: &Transaction<'_>,
    workspace_id: Uuid,
    new: &NewWebhook,
) -> Result<Uuid, AdminError> {
    let sql = "SELECT id FROM members WHERE workspace_id = $1 AND email = $2 AND ended_at IS NULL";
    let email = new.creator.as_str();
    let parameters = [(&workspace_id as _, Type::UUID), (&email as _, Type::TEXT)];
    let found = transaction.query_typed_opt(sql, &parameters).await.map_err(away)?;
    found.map(|row| row.get(0)).ok_or_else(|| {
        let workspace = &new.workspace;
        not_found(format!(
            "{email} is no member of workspace {workspace:?}: add them with `trailpad member add`"
        ))
    })
}

fn member(row: &Row) -> Member {
    Member {
        id: row.get::<_, Uuid>(0).into(),
        email: Email::folded(row.get(1)),
        role: Role::named(row.get(2)).unwrap_or(Role::Member),
        created_at: at(row, 3),
    }
}

fn project(row: &Row) -> Project {
    Project { id: row.get::<_, Uuid>(0).into(), name: row.get(1), created_at: at(row, 2) }
}

fn at(row: &Row, column: usize) -> Instant {
    row.get::<_, chrono::DateTime<chrono::Utc>>(column).into()
}

fn away(error: Error) -> AdminError {
    unavailable(&error).into()
}

fn conflict(sentence: String) -> AdminError {
    AdminError::Conflict(sentence)
}

fn not_found(sentence: String) -> AdminError {
    AdminError::NotFound(sentence)
}

fn no_webhook(id: WebhookId) -> AdminError {
    not_found(format!("there is no webhook {id}: `trailpad webhook list` shows them all"))
}
