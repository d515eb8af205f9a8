//! Sign-in on PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use trailpad_common::admin::{AdminError, Identity, Role, SignIn};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, WorkspaceId};
use trailpad_common::secret::SecretHash;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{PostgresAdmin, away, not_found};

/// Of one who is `found`.
const PERSON: &str = "
SELECT k.id, k.name, m.id, m.email, m.role, m.password_hash IS NOT NULL, found.by_link
FROM found
JOIN members m ON m.id = found.member_id
JOIN workspaces k ON k.id = m.workspace_id
WHERE m.ended_at IS NULL AND k.ended_at IS NULL
";

const INVITE: &str = "
WITH invited AS (
    SELECT id FROM members WHERE workspace_id = $1 AND email = $2 AND ended_at IS NULL
), earlier AS (
    DELETE FROM invitations WHERE member_id IN (SELECT id FROM invited) OR valid_until < now()
)
INSERT INTO invitations (link_hash, member_id, valid_until) SELECT $3, id, $4 FROM invited
";

/// One statement, so that a link opens one session though two use it at once.
const USE: &str = "
WITH used AS (DELETE FROM invitations WHERE link_hash = $1 AND valid_until > now() RETURNING member_id),
old AS (DELETE FROM sessions WHERE valid_until < now())
INSERT INTO sessions (session_hash, member_id, valid_until, by_link)
SELECT $2, m.id, $3, true FROM used JOIN members m ON m.id = used.member_id AND m.ended_at IS NULL
";

const PASSWORDS: &str = "
SELECT id, password_hash FROM members
WHERE email = $1 AND ended_at IS NULL AND password_hash IS NOT NULL ORDER BY created_at
";

const SET_PASSWORD: &str = "
WITH changed AS (UPDATE members SET password_hash = $2 WHERE id = $1 AND ended_at IS NULL),
links AS (DELETE FROM invitations WHERE member_id = $1),
kept AS (UPDATE sessions SET by_link = false WHERE session_hash = $3)
DELETE FROM sessions WHERE member_id = $1 AND session_hash <> $3
";

/// Old sessions go when a new one comes.
const BEGIN: &str = "
WITH old AS (DELETE FROM sessions WHERE valid_until < now())
INSERT INTO sessions (session_hash, member_id, valid_until) VALUES ($1, $2, $3)
";

#[async_trait]
impl SignIn for PostgresAdmin {
    async fn invite(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        link: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError> {
        let (workspace, address) = (workspace.uuid(), email.as_str());
        let (until, link) = (valid_until.to_datetime(), link.as_bytes());
        let parameters = [
            (&workspace as _, Type::UUID),
            (&address as _, Type::TEXT),
            (&link as _, Type::BYTEA),
            (&until as _, Type::TIMESTAMPTZ),
        ];
        let made = self.client().await?.execute_typed(INVITE, &parameters).await.map_err(away)?;
        match made {
            0 => Err(not_found(format!("{email} is no member of the workspace"))),
            _ => Ok(()),
        }
    }

    async fn invited(&self, link: SecretHash) -> Result<Option<Identity>, AdminError> {
        let sql = format!(
            "WITH found AS (
                 SELECT member_id, true AS by_link FROM invitations
                 WHERE link_hash = $1 AND valid_until > now()
             ) {PERSON}"
        );
        self.person(&sql, link).await
    }

    async fn use_invitation(
        &self,
        link: SecretHash,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<bool, AdminError> {
        let (link, session, until) =
            (link.as_bytes(), session.as_bytes(), valid_until.to_datetime());
        let parameters = [
            (&link as _, Type::BYTEA),
            (&session as _, Type::BYTEA),
            (&until as _, Type::TIMESTAMPTZ),
        ];
        let made = self.client().await?.execute_typed(USE, &parameters).await.map_err(away)?;
        Ok(made > 0)
    }

    async fn passwords(&self, email: &Email) -> Result<Vec<(MemberId, String)>, AdminError> {
        let address = email.as_str();
        let parameters = [(&address as _, Type::TEXT)];
        let rows = self.client().await?.query_typed(PASSWORDS, &parameters).await.map_err(away)?;
        Ok(rows.iter().map(|row| (row.get::<_, Uuid>(0).into(), row.get(1))).collect())
    }

    async fn set_password(
        &self,
        member: MemberId,
        password_hash: &str,
        kept_session: SecretHash,
    ) -> Result<(), AdminError> {
        let (member, session) = (member.uuid(), kept_session.as_bytes());
        let parameters = [
            (&member as _, Type::UUID),
            (&password_hash as _, Type::TEXT),
            (&session as _, Type::BYTEA),
        ];
        self.client().await?.execute_typed(SET_PASSWORD, &parameters).await.map_err(away)?;
        Ok(())
    }

    async fn begin_session(
        &self,
        member: MemberId,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError> {
        let (session, member, until) =
            (session.as_bytes(), member.uuid(), valid_until.to_datetime());
        let parameters = [
            (&session as _, Type::BYTEA),
            (&member as _, Type::UUID),
            (&until as _, Type::TIMESTAMPTZ),
        ];
        self.client().await?.execute_typed(BEGIN, &parameters).await.map_err(away)?;
        Ok(())
    }

    async fn session(&self, session: SecretHash) -> Result<Option<Identity>, AdminError> {
        let sql = format!(
            "WITH found AS (
                 SELECT member_id, by_link FROM sessions
                 WHERE session_hash = $1 AND valid_until > now()
             ) {PERSON}"
        );
        self.person(&sql, session).await
    }

    async fn end_session(&self, session: SecretHash) -> Result<(), AdminError> {
        let (sql, hash) = ("DELETE FROM sessions WHERE session_hash = $1", session.as_bytes());
        let parameters = [(&hash as _, Type::BYTEA)];
        self.client().await?.execute_typed(sql, &parameters).await.map_err(away)?;
        Ok(())
    }
}

impl PostgresAdmin {
    async fn person(&self, sql: &str, hash: SecretHash) -> Result<Option<Identity>, AdminError> {
        let hash = hash.as_bytes();
        let parameters = [(&hash as _, Type::BYTEA)];
        let row = self.client().await?.query_typed_opt(sql, &parameters).await.map_err(away)?;
        Ok(row.as_ref().map(person))
    }
}

fn person(row: &Row) -> Identity {
    Identity {
        workspace_id: row.get::<_, Uuid>(0).into(),
        workspace: row.get(1),
        member_id: row.get::<_, Uuid>(2).into(),
        email: Email::folded(row.get(3)),
        role: Role::named(row.get(4)).unwrap_or(Role::Member),
        has_password: row.get(5),
        by_link: row.get(6),
    }
}
