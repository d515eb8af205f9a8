//! Sign-in on SQLite.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use trailpad_common::admin::{AdminError, Identity, Missing, Role, SignIn};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, WorkspaceId};
use trailpad_common::secret::SecretHash;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{SqliteAdmin, execute, lists, micros, store_unavailable};

/// Reads the member of the only row of `found`.
const IDENTITY: &str = "
SELECT k.id AS workspace_id, k.name AS workspace, m.id AS member_id, m.email, m.role,
       m.password_hash IS NOT NULL AS has_password, found.by_link
FROM found
JOIN members m ON m.id = found.member_id
JOIN workspaces k ON k.id = m.workspace_id
WHERE m.ended_at IS NULL AND k.ended_at IS NULL
";

const MEMBER: &str = "
SELECT id FROM members WHERE workspace_id = ?1 AND email = ?2 AND ended_at IS NULL
";

const PASSWORDS: &str = "
SELECT id, password_hash FROM members
WHERE email = ?1 AND ended_at IS NULL AND password_hash IS NOT NULL ORDER BY created_at
";

const BEGIN_SESSION: &str =
    "INSERT INTO sessions (session_hash, member_id, valid_until, by_link) VALUES (?1, ?2, ?3, ?4)";

#[async_trait]
impl SignIn for SqliteAdmin {
    async fn invite(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        link: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError> {
        self.write(|transaction| {
            let values = params![workspace.uuid(), email.as_str()];
            let found = transaction.query_row(MEMBER, values, |row| row.get::<_, Uuid>(0));
            let member = found
                .optional()
                .map_err(store_unavailable)?
                .ok_or_else(|| Missing::Member(email.clone()))?;
            let sql = "DELETE FROM invitations WHERE member_id = ?1 OR valid_until < ?2";
            execute(transaction, sql, params![member, micros(Timestamp::now())])?;
            let sql =
                "INSERT INTO invitations (link_hash, member_id, valid_until) VALUES (?1, ?2, ?3)";
            let values = params![link.as_bytes(), member, micros(valid_until)];
            execute(transaction, sql, values).map(|_| ())
        })
    }

    async fn invited(&self, link: SecretHash) -> Result<Option<Identity>, AdminError> {
        let sql = format!(
            "WITH found AS (
                 SELECT member_id, true AS by_link FROM invitations
                 WHERE link_hash = ?1 AND valid_until > ?2
             ) {IDENTITY}"
        );
        self.identity(&sql, link)
    }

    async fn use_invitation(
        &self,
        link: SecretHash,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<bool, AdminError> {
        self.write(|transaction| {
            let sql = "DELETE FROM invitations WHERE link_hash = ?1 AND valid_until > ?2
                       RETURNING member_id";
            let values = params![link.as_bytes(), micros(Timestamp::now())];
            let member = transaction.query_row(sql, values, |row| row.get::<_, Uuid>(0));
            let Some(member) = member.optional().map_err(store_unavailable)? else {
                return Ok(false);
            };
            begin_session(transaction, session, member, valid_until, true).map(|()| true)
        })
    }

    async fn passwords(&self, email: &Email) -> Result<Vec<(MemberId, String)>, AdminError> {
        self.read(|connection| {
            let read =
                |row: &Row<'_>| Ok((row.get::<_, Uuid>("id")?.into(), row.get("password_hash")?));
            lists::all(connection, PASSWORDS, [email.as_str()], read)
        })
    }

    async fn set_password(
        &self,
        member: MemberId,
        password_hash: &str,
        kept_session: SecretHash,
    ) -> Result<(), AdminError> {
        self.write(|transaction| {
            let sql = "UPDATE members SET password_hash = ?2 WHERE id = ?1 AND ended_at IS NULL";
            execute(transaction, sql, params![member.uuid(), password_hash])?;
            execute(transaction, "DELETE FROM invitations WHERE member_id = ?1", [member.uuid()])?;
            let sql = "UPDATE sessions SET by_link = false WHERE session_hash = ?1";
            execute(transaction, sql, [kept_session.as_bytes()])?;
            let sql = "DELETE FROM sessions WHERE member_id = ?1 AND session_hash <> ?2";
            execute(transaction, sql, params![member.uuid(), kept_session.as_bytes()]).map(|_| ())
        })
    }

    async fn begin_session(
        &self,
        member: MemberId,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError> {
        self.write(|transaction| {
            begin_session(transaction, session, member.uuid(), valid_until, false)
        })
    }

    async fn session(&self, session: SecretHash) -> Result<Option<Identity>, AdminError> {
        let sql = format!(
            "WITH found AS (
                 SELECT member_id, by_link FROM sessions
                 WHERE session_hash = ?1 AND valid_until > ?2
             ) {IDENTITY}"
        );
        self.identity(&sql, session)
    }

    async fn end_session(&self, session: SecretHash) -> Result<(), AdminError> {
        let sql = "DELETE FROM sessions WHERE session_hash = ?1";
        self.write(|transaction| execute(transaction, sql, [session.as_bytes()]).map(|_| ()))
    }
}

impl SqliteAdmin {
    fn identity(&self, sql: &str, hash: SecretHash) -> Result<Option<Identity>, AdminError> {
        self.read(|connection| {
            let values = params![hash.as_bytes(), micros(Timestamp::now())];
            connection.query_row(sql, values, identity).optional().map_err(store_unavailable)
        })
    }
}

/// Also deletes expired sessions.
fn begin_session(
    transaction: &Transaction<'_>,
    session: SecretHash,
    member: Uuid,
    valid_until: Timestamp,
    by_link: bool,
) -> Result<(), AdminError> {
    let now = micros(Timestamp::now());
    execute(transaction, "DELETE FROM sessions WHERE valid_until < ?1", [now])?;
    let values = params![session.as_bytes(), member, micros(valid_until), by_link];
    execute(transaction, BEGIN_SESSION, values).map(|_| ())
}

fn identity(row: &Row<'_>) -> rusqlite::Result<Identity> {
    Ok(Identity {
        workspace_id: row.get::<_, Uuid>("workspace_id")?.into(),
        workspace: row.get("workspace")?,
        member_id: row.get::<_, Uuid>("member_id")?.into(),
        email: Email::folded(row.get_ref("email")?.as_str()?),
        role: row.get_ref("role")?.as_str()?.parse().unwrap_or(Role::Member),
        has_password: row.get("has_password")?,
        by_link: row.get("by_link")?,
    })
}
