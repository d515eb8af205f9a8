//! Administration on SQLite: workspaces, members, projects and webhooks.

mod activities;
mod changes;
mod dead_letters;
mod lists;
mod retention;
mod sign_in;
mod webhooks;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use trailpad_common::admin::{
    ActivityFilter, Admin, AdminError, Member, NewWebhook, Project, Role, StoredActivity, Webhook,
    Workspace,
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

/// Administration in a file.
pub struct SqliteAdmin {
    database: Database,
}

impl SqliteAdmin {
    /// Opens the store of a data directory, whether it is served or not.
    ///
    /// # Errors
    /// It can't be opened, or has another version's schema.
    pub fn open(directory: &DataDir) -> Result<Self, Unavailable> {
        Ok(Self { database: Database::new(directory.open_store()?) })
    }

    /// Works in one transaction, which takes the write lock at its beginning.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AdminError>,
    ) -> Result<T, AdminError> {
        self.database.with(|connection| {
            let transaction = connection.transaction().map_err(away)?;
            let done = work(&transaction)?;
            transaction.commit().map_err(away)?;
            Ok(done)
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
            let (id, created_at) = (WorkspaceId::generate(), Timestamp::now());
            let sql = "INSERT INTO workspaces (id, name, created_at) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO NOTHING";
            let made = execute(transaction, sql, params![id.uuid(), name, micros(created_at)])?;
            if made == 0 {
                return Err(conflict(format!("there is a workspace named {name:?} already")));
            }
            let member = insert_member(transaction, id.uuid(), owner, Role::Owner)?;
            Ok((Workspace { id, name: name.to_owned(), created_at }, member))
        })
    }

    async fn workspace(&self, name: &str) -> Result<Workspace, AdminError> {
        let sql =
            "SELECT id, name, created_at FROM workspaces WHERE name = ?1 AND ended_at IS NULL";
        let found = self.read(|connection| {
            connection.query_row(sql, [name], workspace).optional().map_err(away)
        })?;
        found.ok_or_else(|| {
            not_found(format!(
                "there is no workspace named {name:?}: make it with `trailpad workspace create`"
            ))
        })
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
            let (id, created_at) = (ProjectId::generate(), Timestamp::now());
            let sql = "INSERT INTO projects (id, workspace_id, name, created_at)
                       VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            let values = params![id.uuid(), workspace.uuid(), name, micros(created_at)];
            match execute(transaction, sql, values)? {
                0 => Err(conflict(format!("there is a project named {name:?} already"))),
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
        self.read(|connection| webhooks::one(connection, id))
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
    transaction.execute(sql, values).map_err(away)
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
    let (id, now) = (MemberId::generate().uuid(), micros(Timestamp::now()));
    let values = params![id, workspace_id, email.as_str(), role.as_str(), now];
    let made = transaction.query_row(sql, values, member).optional().map_err(away)?;
    made.ok_or_else(|| conflict(format!("{email} is a member already")))
}

fn workspace(row: &Row<'_>) -> rusqlite::Result<Workspace> {
    Ok(Workspace {
        id: row.get::<_, Uuid>(0)?.into(),
        name: row.get(1)?,
        created_at: Timestamp::from_unix_micros(row.get(2)?),
    })
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        id: row.get::<_, Uuid>(0)?.into(),
        email: Email::folded(row.get_ref(1)?.as_str()?),
        role: Role::named(row.get_ref(2)?.as_str()?).unwrap_or(Role::Member),
        created_at: Timestamp::from_unix_micros(row.get(3)?),
    })
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: row.get::<_, Uuid>(0)?.into(),
        name: row.get(1)?,
        created_at: Timestamp::from_unix_micros(row.get(2)?),
    })
}

fn micros(at: Timestamp) -> i64 {
    at.unix_micros()
}

fn away(error: rusqlite::Error) -> AdminError {
    unavailable(&error).into()
}

fn conflict(sentence: String) -> AdminError {
    AdminError::Conflict(sentence)
}

fn not_found(sentence: String) -> AdminError {
    AdminError::NotFound(sentence)
}
