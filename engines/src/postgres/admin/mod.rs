//! The administration on PostgreSQL; this file holds workspaces, members and projects.

mod activities;
mod changes;
mod dead_letters;
mod lists;
mod retention;
mod retries;
mod sign_in;
mod webhooks;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Pool, Transaction};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use trailpad_common::admin::{
    ActivityFilter, Admin, AdminError, Conflict, Member, Missing, NewWebhook, Project, Role,
    StoredActivity, Webhook, Workspace,
};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, ProjectId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::PresentedToken;
use uuid::Uuid;

use super::connect::{Config, get};
use super::error::unavailable;

/// Enough for the pages of a dashboard. Opened on demand.
const CONNECTIONS: usize = 4;

pub struct PostgresAdmin {
    pool: Pool,
}

impl PostgresAdmin {
    /// Connects when it is first used.
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
        let transaction = client.transaction().await.map_err(store_unavailable)?;
        let id = WorkspaceId::generate().uuid();
        let sql = "INSERT INTO workspaces (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING created_at";
        let parameters = [(&id as _, Type::UUID), (&name as _, Type::TEXT)];
        let created =
            transaction.query_typed_opt(sql, &parameters).await.map_err(store_unavailable)?;
        let Some(created) = created else {
            return Err(Conflict::WorkspaceName(name.to_owned()).into());
        };
        let member = insert_member(&transaction, id, owner, Role::Owner).await?;
        transaction.commit().await.map_err(store_unavailable)?;
        let created_at = timestamp(&created, "created_at");
        Ok((Workspace { id: id.into(), name: name.to_owned(), created_at }, member))
    }

    async fn workspace(&self, name: &str) -> Result<Workspace, AdminError> {
        let sql =
            "SELECT id, name, created_at FROM workspaces WHERE name = $1 AND ended_at IS NULL";
        let client = self.client().await?;
        let found =
            client.query_typed_opt(sql, &[(&name, Type::TEXT)]).await.map_err(store_unavailable)?;
        found.as_ref().map(workspace).ok_or_else(|| Missing::Workspace(name.to_owned()).into())
    }

    async fn add_member(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<Member, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(store_unavailable)?;
        let member = insert_member(&transaction, workspace.uuid(), email, role).await?;
        transaction.commit().await.map_err(store_unavailable)?;
        Ok(member)
    }

    async fn rename_workspace(&self, workspace: WorkspaceId, name: &str) -> Result<(), AdminError> {
        changes::rename_workspace(&self.client().await?, workspace, name).await
    }

    async fn set_role(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<(), AdminError> {
        changes::set_role(&mut self.client().await?, workspace, email, Some(role)).await
    }

    async fn end_member(&self, workspace: WorkspaceId, email: &Email) -> Result<(), AdminError> {
        changes::set_role(&mut self.client().await?, workspace, email, None).await
    }

    async fn members(&self, workspace: WorkspaceId) -> Result<Vec<Member>, AdminError> {
        let sql = "SELECT id, email, role, created_at FROM members
                   WHERE workspace_id = $1 AND ended_at IS NULL ORDER BY email";
        let client = self.client().await?;
        let id = workspace.uuid();
        let rows =
            client.query_typed(sql, &[(&id, Type::UUID)]).await.map_err(store_unavailable)?;
        Ok(rows.iter().map(member).collect())
    }

    async fn create_project(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Project, AdminError> {
        let sql = "INSERT INTO projects (id, workspace_id, name) VALUES ($1, $2, $3)
                   ON CONFLICT DO NOTHING RETURNING id, name, created_at";
        let id = ProjectId::generate().uuid();
        let workspace = workspace.uuid();
        let parameters =
            [(&id as _, Type::UUID), (&workspace as _, Type::UUID), (&name as _, Type::TEXT)];
        let client = self.client().await?;
        let created = client.query_typed_opt(sql, &parameters).await.map_err(store_unavailable)?;
        created.as_ref().map(project).ok_or_else(|| Conflict::ProjectName(name.to_owned()).into())
    }

    async fn rename_project(
        &self,
        workspace: WorkspaceId,
        id: ProjectId,
        name: &str,
    ) -> Result<(), AdminError> {
        changes::rename_project(&self.client().await?, workspace, id, name).await
    }

    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, AdminError> {
        let sql = "SELECT id, name, created_at FROM projects
                   WHERE workspace_id = $1 AND ended_at IS NULL ORDER BY name";
        let client = self.client().await?;
        let id = workspace.uuid();
        let rows =
            client.query_typed(sql, &[(&id, Type::UUID)]).await.map_err(store_unavailable)?;
        Ok(rows.iter().map(project).collect())
    }

    async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, AdminError> {
        webhooks::create(&mut self.client().await?, new).await
    }

    async fn webhooks(&self, workspace: Option<WorkspaceId>) -> Result<Vec<Webhook>, AdminError> {
        webhooks::list(&self.client().await?, workspace, None).await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        webhooks::find(&self.client().await?, id).await
    }

    async fn rename_webhook(&self, id: WebhookId, name: &str) -> Result<(), AdminError> {
        changes::rename_webhook(&self.client().await?, id, name).await
    }

    async fn rotate_webhook(
        &self,
        id: WebhookId,
        revision: i64,
        token: PresentedToken,
        old_valid_until: Timestamp,
    ) -> Result<Webhook, AdminError> {
        let mut client = self.client().await?;
        webhooks::rotate(&mut client, id, revision, token, old_valid_until).await
    }

    async fn revoke_webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        webhooks::revoke(&mut self.client().await?, id).await
    }

    async fn activities(&self, filter: &ActivityFilter) -> Result<Vec<StoredActivity>, AdminError> {
        lists::activities(&self.client().await?, filter).await
    }
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
    let id = MemberId::generate().uuid();
    let address = email.as_str();
    let role = role.as_str();
    let parameters = [
        (&id as _, Type::UUID),
        (&workspace_id as _, Type::UUID),
        (&address as _, Type::TEXT),
        (&role as _, Type::TEXT),
    ];
    let inserted =
        transaction.query_typed_opt(sql, &parameters).await.map_err(store_unavailable)?;
    let Some(inserted) = inserted else {
        return Err(Conflict::AlreadyMember(email.clone()).into());
    };
    let parameters = [(&address as _, Type::TEXT), (&workspace_id as _, Type::UUID)];
    let hurried = transaction.execute_typed(HURRY_RETRIES, &parameters).await;
    hurried.map_err(store_unavailable)?;
    Ok(member(&inserted))
}

/// The activities that wait for a member are due once it is added.
const HURRY_RETRIES: &str = "
UPDATE retries SET due_at = now()
WHERE member_email = $1 AND webhook_id IN (
    SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project_id WHERE p.workspace_id = $2)
";

fn workspace(row: &Row) -> Workspace {
    Workspace {
        id: row.get::<_, Uuid>("id").into(),
        name: row.get("name"),
        created_at: timestamp(row, "created_at"),
    }
}

fn member(row: &Row) -> Member {
    Member {
        id: row.get::<_, Uuid>("id").into(),
        email: Email::folded(row.get("email")),
        role: row.get::<_, &str>("role").parse().unwrap_or(Role::Member),
        created_at: timestamp(row, "created_at"),
    }
}

fn project(row: &Row) -> Project {
    Project {
        id: row.get::<_, Uuid>("id").into(),
        name: row.get("name"),
        created_at: timestamp(row, "created_at"),
    }
}

fn timestamp(row: &Row, column: &str) -> Timestamp {
    row.get::<_, DateTime<Utc>>(column).into()
}

fn optional_timestamp(row: &Row, column: &str) -> Option<Timestamp> {
    row.get::<_, Option<DateTime<Utc>>>(column).map(Into::into)
}

fn store_unavailable(error: Error) -> AdminError {
    unavailable(&error).into()
}
