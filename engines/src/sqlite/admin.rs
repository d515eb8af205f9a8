//! Administration on SQLite: workspaces, members, projects and webhooks.

mod arrivals;
mod changes;
mod dead_letters;
mod lists;
mod retention;
mod sign_in;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use trailpad_common::admin::{
    ActivityFilter, Admin, AdminError, Member, NewWebhook, Project, Role, StoredActivity, Webhook,
    Workspace,
};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{MemberId, ProjectId, WebhookId, WorkspaceId};
use trailpad_common::instant::Instant;
use trailpad_common::ports::DIRECTORY_WEBHOOKS_MAX;
use trailpad_common::token::PresentedToken;
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
            let (id, created_at) = (WorkspaceId::generate(), Instant::now());
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

    async fn add_member(
        &self,
        workspace: &str,
        email: &Email,
        role: Role,
    ) -> Result<Member, AdminError> {
        self.write(|transaction| {
            let workspace_id = workspace_id(transaction, workspace)?;
            insert_member(transaction, workspace_id, email, role)
        })
    }

    async fn rename_workspace(&self, workspace: &str, name: &str) -> Result<(), AdminError> {
        self.write(|transaction| changes::rename_workspace(transaction, workspace, name))
    }

    async fn set_role(&self, workspace: &str, email: &Email, role: Role) -> Result<(), AdminError> {
        self.write(|transaction| changes::set_role(transaction, workspace, email, Some(role)))
    }

    async fn end_member(&self, workspace: &str, email: &Email) -> Result<(), AdminError> {
        self.write(|transaction| changes::set_role(transaction, workspace, email, None))
    }

    async fn members(&self, workspace: &str) -> Result<Vec<Member>, AdminError> {
        self.read(|connection| {
            let id = workspace_id(connection, workspace)?;
            let sql = "SELECT id, email, role, created_at FROM members
                       WHERE workspace_id = ?1 AND ended_at IS NULL ORDER BY email";
            lists::all(connection, sql, [id], member)
        })
    }

    async fn create_project(&self, workspace: &str, name: &str) -> Result<Project, AdminError> {
        self.write(|transaction| {
            let workspace_id = workspace_id(transaction, workspace)?;
            let (id, created_at) = (ProjectId::generate(), Instant::now());
            let sql = "INSERT INTO projects (id, workspace_id, name, created_at)
                       VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            let values = params![id.uuid(), workspace_id, name, micros(created_at)];
            if execute(transaction, sql, values)? == 0 {
                return Err(conflict(format!(
                    "workspace {workspace:?} has a project named {name:?} already"
                )));
            }
            Ok(Project { id, name: name.to_owned(), created_at })
        })
    }

    async fn rename_project(
        &self,
        workspace: &str,
        id: ProjectId,
        name: &str,
    ) -> Result<(), AdminError> {
        self.write(|transaction| changes::rename_project(transaction, workspace, id, name))
    }

    async fn projects(&self, workspace: &str) -> Result<Vec<Project>, AdminError> {
        self.read(|connection| {
            let id = workspace_id(connection, workspace)?;
            let sql = "SELECT id, name, created_at FROM projects
                       WHERE workspace_id = ?1 AND ended_at IS NULL ORDER BY name";
            lists::all(connection, sql, [id], project)
        })
    }

    async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, AdminError> {
        self.write(|transaction| {
            let workspace_id = workspace_id(transaction, &new.workspace)?;
            let project_id = project_id(transaction, workspace_id, new)?;
            let creator_id = creator_id(transaction, workspace_id, new)?;
            check_room(transaction)?;
            let revision = next_revision(transaction)?;
            let id = WebhookId::generate();
            let sql = "INSERT INTO webhooks (id, project_id, creator_id, name, public_id,
                                             secret_hash, created_at, revision)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![
                id.uuid(),
                project_id,
                creator_id,
                new.name,
                new.token.public_id.as_str(),
                new.token.secret_hash.as_bytes(),
                micros(Instant::now()),
                revision,
            ];
            execute(transaction, sql, values)?;
            lists::webhook(transaction, id)
        })
    }

    async fn webhooks(&self, workspace: Option<&str>) -> Result<Vec<Webhook>, AdminError> {
        self.read(|connection| {
            if let Some(name) = workspace {
                workspace_id(connection, name)?;
            }
            lists::webhooks(connection, workspace, None)
        })
    }

    async fn webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        self.read(|connection| lists::webhook(connection, id))
    }

    async fn rename_webhook(&self, id: WebhookId, name: &str) -> Result<(), AdminError> {
        self.write(|transaction| changes::rename_webhook(transaction, id, name))
    }

    async fn rotate_webhook(
        &self,
        id: WebhookId,
        token: PresentedToken,
        old_valid_until: Instant,
    ) -> Result<Webhook, AdminError> {
        self.write(|transaction| {
            let revision = next_revision(transaction)?;
            let sql = "UPDATE webhooks SET previous_secret_hash = secret_hash,
                              previous_valid_until = ?2, secret_hash = ?3, revision = ?4
                       WHERE id = ?1 AND revoked_at IS NULL";
            let hash = token.secret_hash.as_bytes();
            let values = params![id.uuid(), micros(old_valid_until), hash, revision];
            let changed = execute(transaction, sql, values)?;
            let webhook = lists::webhook(transaction, id)?;
            if changed == 0 {
                return Err(conflict(format!(
                    "webhook {:?} is revoked, which is for ever: create a new one",
                    webhook.name
                )));
            }
            Ok(webhook)
        })
    }

    async fn revoke_webhook(&self, id: WebhookId) -> Result<Webhook, AdminError> {
        self.write(|transaction| {
            let revision = next_revision(transaction)?;
            let sql = "UPDATE webhooks SET revoked_at = ?2, revision = ?3
                       WHERE id = ?1 AND revoked_at IS NULL";
            execute(transaction, sql, params![id.uuid(), micros(Instant::now()), revision])?;
            lists::webhook(transaction, id)
        })
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

/// The next value of the directory's counter.
fn next_revision(transaction: &Transaction<'_>) -> Result<i64, AdminError> {
    let sql = "UPDATE directory_revision SET revision = revision + 1 RETURNING revision";
    transaction.query_row(sql, [], |row| row.get(0)).map_err(away)
}

fn check_room(transaction: &Transaction<'_>) -> Result<(), AdminError> {
    let sql = "SELECT count(*) FROM webhooks";
    let count: i64 = transaction.query_row(sql, [], |row| row.get(0)).map_err(away)?;
    if count < DIRECTORY_WEBHOOKS_MAX {
        return Ok(());
    }
    Err(conflict(format!("there are {count} webhooks, which is as many as a gateway holds")))
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
    let (id, now) = (MemberId::generate().uuid(), micros(Instant::now()));
    let values = params![id, workspace_id, email.as_str(), role.as_str(), now];
    let made = transaction.query_row(sql, values, member).optional().map_err(away)?;
    made.ok_or_else(|| conflict(format!("{email} is a member already")))
}

fn workspace_id(connection: &Connection, name: &str) -> Result<Uuid, AdminError> {
    let sql = "SELECT id FROM workspaces WHERE name = ?1 AND ended_at IS NULL";
    find_id(connection, sql, [name])?.ok_or_else(|| {
        not_found(format!(
            "there is no workspace named {name:?}: make it with `trailpad workspace create`"
        ))
    })
}

fn project_id(
    connection: &Connection,
    workspace_id: Uuid,
    new: &NewWebhook,
) -> Result<Uuid, AdminError> {
    let sql = "SELECT id FROM projects WHERE workspace_id = ?1 AND name = ?2 AND ended_at IS NULL";
    find_id(connection, sql, params![workspace_id, new.project])?.ok_or_else(|| {
        let (workspace, project) = (&new.workspace, &new.project);
        not_found(format!("workspace {workspace:?} has no project named {project:?}: make it with `trailpad project create`"))
    })
}

fn creator_id(
    connection: &Connection,
    workspace_id: Uuid,
    new: &NewWebhook,
) -> Result<Uuid, AdminError> {
    let sql = "SELECT id FROM members WHERE workspace_id = ?1 AND email = ?2 AND ended_at IS NULL";
    let email = &new.creator;
    find_id(connection, sql, params![workspace_id, email.as_str()])?.ok_or_else(|| {
        let workspace = &new.workspace;
        not_found(format!(
            "{email} is no member of workspace {workspace:?}: add them with `trailpad member add`"
        ))
    })
}

fn find_id(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Option<Uuid>, AdminError> {
    connection.query_row(sql, values, |row| row.get(0)).optional().map_err(away)
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        id: row.get::<_, Uuid>(0)?.into(),
        email: Email::folded(row.get_ref(1)?.as_str()?),
        role: Role::named(row.get_ref(2)?.as_str()?).unwrap_or(Role::Member),
        created_at: Instant::from_unix_micros(row.get(3)?),
    })
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: row.get::<_, Uuid>(0)?.into(),
        name: row.get(1)?,
        created_at: Instant::from_unix_micros(row.get(2)?),
    })
}

fn micros(at: Instant) -> i64 {
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
