//! Sign-in on PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use trailpad_common::admin::{AdminError, Identity, Missing, Role, SignIn};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, WorkspaceId};
use trailpad_common::secret::SecretHash;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{PostgresAdmin, store_unavailable};

/// Reads the member of the only row of `found`.
const IDENTITY: &str = "
SELECT k.id AS workspace_id, k.name AS workspace, m.id AS member_id, m.email, m.role,
       m.password_hash IS NOT NULL AS has_password, found.by_link
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

/// A single statement, so that two concurrent uses of a link begin only one session.
const USE_INVITATION: &str = "
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

/// Also deletes expired sessions.
const BEGIN_SESSION: &str = "
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
        let workspace = workspace.uuid();
        let address = email.as_str();
        let link = link.as_bytes();
        let until = valid_until.to_datetime();
        let parameters = [
            (&workspace as _, Type::UUID),
            (&address as _, Type::TEXT),
            (&link as _, Type::BYTEA),
            (&until as _, Type::TIMESTAMPTZ),
        ];
        let invited = self
            .client()
            .await?
            .execute_typed(INVITE, &parameters)
            .await
            .map_err(store_unavailable)?;
        match invited {
            0 => Err(Missing::Member(email.clone()).into()),
            _ => Ok(()),
        }
    }

    async fn invited(&self, link: SecretHash) -> Result<Option<Identity>, AdminError> {
        let sql = format!(
            "WITH found AS (
                 SELECT member_id, true AS by_link FROM invitations
                 WHERE link_hash = $1 AND valid_until > now()
             ) {IDENTITY}"
        );
        self.identity(&sql, link).await
    }

    async fn use_invitation(
        &self,
        link: SecretHash,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<bool, AdminError> {
        let link = link.as_bytes();
        let session = session.as_bytes();
        let until = valid_until.to_datetime();
        let parameters = [
            (&link as _, Type::BYTEA),
            (&session as _, Type::BYTEA),
            (&until as _, Type::TIMESTAMPTZ),
        ];
        let begun = self
            .client()
            .await?
            .execute_typed(USE_INVITATION, &parameters)
            .await
            .map_err(store_unavailable)?;
        Ok(begun > 0)
    }

    async fn passwords(&self, email: &Email) -> Result<Vec<(MemberId, String)>, AdminError> {
        let address = email.as_str();
        let parameters = [(&address as _, Type::TEXT)];
        let rows = self
            .client()
            .await?
            .query_typed(PASSWORDS, &parameters)
            .await
            .map_err(store_unavailable)?;
        Ok(rows
            .iter()
            .map(|row| (row.get::<_, Uuid>("id").into(), row.get("password_hash")))
            .collect())
    }

    async fn set_password(
        &self,
        member: MemberId,
        password_hash: &str,
        kept_session: SecretHash,
    ) -> Result<(), AdminError> {
        let member = member.uuid();
        let session = kept_session.as_bytes();
        let parameters = [
            (&member as _, Type::UUID),
            (&password_hash as _, Type::TEXT),
            (&session as _, Type::BYTEA),
        ];
        self.client()
            .await?
            .execute_typed(SET_PASSWORD, &parameters)
            .await
            .map_err(store_unavailable)?;
        Ok(())
    }

    async fn begin_session(
        &self,
        member: MemberId,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError> {
        let session = session.as_bytes();
        let member = member.uuid();
        let until = valid_until.to_datetime();
        let parameters = [
            (&session as _, Type::BYTEA),
            (&member as _, Type::UUID),
            (&until as _, Type::TIMESTAMPTZ),
        ];
        self.client()
            .await?
            .execute_typed(BEGIN_SESSION, &parameters)
            .await
            .map_err(store_unavailable)?;
        Ok(())
    }

    async fn session(&self, session: SecretHash) -> Result<Option<Identity>, AdminError> {
        let sql = format!(
            "WITH found AS (
                 SELECT member_id, by_link FROM sessions
                 WHERE session_hash = $1 AND valid_until > now()
             ) {IDENTITY}"
        );
        self.identity(&sql, session).await
    }

    async fn end_session(&self, session: SecretHash) -> Result<(), AdminError> {
        let sql = "DELETE FROM sessions WHERE session_hash = $1";
        let hash = session.as_bytes();
        let parameters = [(&hash as _, Type::BYTEA)];
        self.client().await?.execute_typed(sql, &parameters).await.map_err(store_unavailable)?;
        Ok(())
    }
}

impl PostgresAdmin {
    async fn identity(&self, sql: &str, hash: SecretHash) -> Result<Option<Identity>, AdminError> {
        let hash = hash.as_bytes();
        let parameters = [(&hash as _, Type::BYTEA)];
        let row = self
            .client()
            .await?
            .query_typed_opt(sql, &parameters)
            .await
            .map_err(store_unavailable)?;
        Ok(row.as_ref().map(identity))
    }
}

fn identity(row: &Row) -> Identity {
    Identity {
        workspace_id: row.get::<_, Uuid>("workspace_id").into(),
        workspace: row.get("workspace"),
        member_id: row.get::<_, Uuid>("member_id").into(),
        email: Email::folded(row.get("email")),
        role: row.get::<_, &str>("role").parse().unwrap_or(Role::Member),
        has_password: row.get("has_password"),
        by_link: row.get("by_link"),
    }
}
