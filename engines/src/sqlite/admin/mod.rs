//! The administration on SQLite; this file holds workspaces, members and projects.

mod activities;
mod changes;
mod dead_letters;
mod lists;
mod retention;
mod retries;
mod sign_in;
mod webhooks;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use trailpad_common::admin::{
    ActivityFilter, Admin, AdminError, Conflict, Member, Missing, NewWebhook, Project, Role,
    StoredActivity, Webhook, Workspace,
};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{MemberId, ProjectId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::PresentedToken;
use uuid::Uuid;

use super::data_dir::DataDir;
use super::error::unavailable;
use super::file::Database;

pub struct SqliteAdmin {
    database: Database,
}

impl SqliteAdmin {
    /// Works whether or not a process serves the directory.
    ///
    /// # Errors
    /// The file can't be opened, or has the schema of another version.
    pub fn open(directory: &DataDir) -> Result<Self, Unavailable> {
        Ok(Self { database: Database::new(directory.open_store()?) })
    }

    /// Calls `work` in one transaction that holds the write lock from its beginning.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AdminError>,
    ) -> Result<T, AdminError> {
        self.database.with(|connection| {
            let transaction = connection.transaction().map_err(store_unavailable)?;
            let result = work(&transaction)?;
            transaction.commit().map_err(store_unavailable)?;
            Ok(result)
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, AdminError>,
    ) -> Result<T, AdminError> {
        self.database.with(|connection| work(connection))
    }
}

#[async_trait]
impl Admin for SqliteAdmin {
    async fn create_workspace(
        &self,
        name: &str,
        owner: &Email,
    ) -> Result<(Workspace, Member), AdminError> {
        self.write(|transaction| {
            let id = WorkspaceId::generate();
            let created_at = Timestamp::now();
            let sql = "INSERT INTO workspaces (id, name, created_at) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO NOTHING";
            let inserted = execute(transaction, sql, params![id.uuid(), name, micros(created_at)])?;
            if inserted == 0 {
                return Err(Conflict::WorkspaceName(name.to_owned()).into());
            }
            let member = insert_member(transaction, id.uuid(), owner, Role::Owner)?;
            Ok((Workspace { id, name: name.to_owned(), created_at }, member))
        })
    }

    async fn workspace(&self, name: &str) -> Result<Workspace, AdminError> {
        let sql =
            "SELECT id, name, created_at FROM workspaces WHERE name = ?1 AND ended_at IS NULL";
        let found = self.read(|connection| {
            connection.query_row(sql, [name], workspace).optional().map_err(store_unavailable)
        })?;
        found.ok_or_else(|| Missing::Workspace(name.to_owned()).into())
    }

    async fn add_member(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<Member, AdminError> {
        self.write(|transaction| insert_member(transaction, workspace.uuid(), email, role))
    }

    async fn rename_workspace(&self, workspace: WorkspaceId, name: &str) -> Result<(), AdminError> {
        self.write(|transaction| changes::rename_workspace(transaction, workspace, name))
    }

    async fn set_role(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        role: Role,
    ) -> Result<(), AdminError> {
        self.write(|transaction| changes::set_role(transaction, workspace, email, Some(role)))
    }

    async fn end_member(&self, workspace: WorkspaceId, email: &Email) -> Result<(), AdminError> {
        self.write(|transaction| changes::set_role(transaction, workspace, email, None))
    }

    async fn members(&self, workspace: WorkspaceId) -> Result<Vec<Member>, AdminError> {
        let sql = "SELECT id, email, role, created_at FROM members
                   WHERE workspace_id = ?1 AND ended_at IS NULL ORDER BY email";
        self.read(|connection| lists::all(connection, sql, [workspace.uuid()], member))
    }

    async fn create_project(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Project, AdminError> {
        self.write(|transaction| {
            let id = ProjectId::generate();
            let created_at = Timestamp::now();
            let sql = "INSERT INTO projects (id, workspace_id, name, created_at)
                       VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            let values = params![id.uuid(), workspace.uuid(), name, micros(created_at)];
            match execute(transaction, sql, values)? {
                0 => Err(Conflict::ProjectName(name.to_owned()).into()),
                _ => Ok(Project { id, name: name.to_owned(), created_at }),
            }
        })
    }

    async fn rename_project(
        &self,
        workspace: WorkspaceId,
        id: ProjectId,
        name: &str,
    ) -> Result<(), AdminError> {
        self.write(|transaction| changes::rename_project(transaction, workspace, id, name))
    }

    async fn projects(&self, workspace: WorkspaceId) -> Result<Vec<Project>, AdminError> {
        let sql = "SELECT id, name, created_at FROM projects
                   WHERE workspace_id = ?1 AND ended_at IS NULL ORDER BY name";
        self.read(|connection| lists::all(connection, sql, [workspace.uuid()], project))
    }

    async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, AdminError> {
        self.write(|transaction| webhooks::create(transaction, new))
    }

    async fn webhooks(&self, workspace: Option<WorkspaceId>) -> Result<Vec<Webhook>, AdminError> {
        self.read(|connection| webhooks::list(connection, workspace, None))
    }

    async fn webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        self.read(|connection| webhooks::find(connection, id))
    }

    async fn rename_webhook(&self, id: WebhookId, name: &str) -> Result<(), AdminError> {
        self.write(|transaction| changes::rename_webhook(transaction, id, name))
    }

    async fn rotate_webhook(
        &self,
        id: WebhookId,
        revision: i64,
        token: PresentedToken,
        old_valid_until: Timestamp,
    ) -> Result<Webhook, AdminError> {
        self.write(|transaction| {
            webhooks::rotate(transaction, id, revision, token, old_valid_until)
        })
    }

    async fn revoke_webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        self.write(|transaction| webhooks::revoke(transaction, id))
    }

    async fn activities(&self, filter: &ActivityFilter) -> Result<Vec<StoredActivity>, AdminError> {
        lists::activities(&self.database, filter)
    }
}

fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<usize, AdminError> {
    transaction.execute(sql, values).map_err(store_unavailable)
}

fn insert_member(
    transaction: &Transaction<'_>,
    workspace_id: Uuid,
    email: &Email,
    role: Role,
) -> Result<Member, AdminError> {
    let sql = "INSERT INTO members (id, workspace_id, email, role, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (workspace_id, email)
               DO UPDATE SET ended_at = NULL, role = excluded.role WHERE members.ended_at IS NOT NULL
               RETURNING id, email, role, created_at";
    let id = MemberId::generate().uuid();
    let now = micros(Timestamp::now());
    let values = params![id, workspace_id, email.as_str(), role.as_str(), now];
    let inserted =
        transaction.query_row(sql, values, member).optional().map_err(store_unavailable)?;
    let inserted = inserted.ok_or_else(|| Conflict::AlreadyMember(email.clone()))?;
    execute(transaction, HURRY_RETRIES, params![email.as_str(), workspace_id, now])?;
    Ok(inserted)
}

/// The activities that wait for a member are due once it is added.
const HURRY_RETRIES: &str = "
UPDATE retries SET due_at = ?3
WHERE member_email = ?1 AND webhook_id IN (
    SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project_id WHERE p.workspace_id = ?2)
";

fn workspace(row: &Row<'_>) -> rusqlite::Result<Workspace> {
    Ok(Workspace {
        id: row.get::<_, Uuid>("id")?.into(),
        name: row.get("name")?,
        created_at: lists::timestamp(row, "created_at")?,
    })
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        id: row.get::<_, Uuid>("id")?.into(),
        email: Email::folded(row.get_ref("email")?.as_str()?),
        role: row.get_ref("role")?.as_str()?.parse().unwrap_or(Role::Member),
        created_at: lists::timestamp(row, "created_at")?,
    })
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: row.get::<_, Uuid>("id")?.into(),
        name: row.get("name")?,
        created_at: lists::timestamp(row, "created_at")?,
    })
}

fn micros(at: Timestamp) -> i64 {
    at.unix_micros()
}

fn store_unavailable(error: rusqlite::Error) -> AdminError {
    unavailable(&error).into()
}
