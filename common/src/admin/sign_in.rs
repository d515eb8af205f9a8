//! Who is signed in to the dashboard: invitations, passwords, sessions. Of every secret the store
//! has a hash alone.

use async_trait::async_trait;

use super::{AdminError, Role};
use crate::email::Email;
use crate::id::{MemberId, WorkspaceId};
use crate::secret::NewSecret;
use crate::secret::SecretHash;
use crate::timestamp::Timestamp;

/// A member who is signed in, or could be by a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// That workspace's name.
    pub workspace: String,
    /// The member.
    pub member_id: MemberId,
    /// Its address.
    pub email: Email,
    /// Its role.
    pub role: Role,
    /// Whether it has a password.
    pub has_password: bool,
    /// Whether a one-time link began the session, and no password was set in it since.
    pub by_link: bool,
}

/// A one-time link is valid for three days.
const LINK_VALID_MICROS: i64 = 3 * 24 * 60 * 60 * 1_000_000;

/// Makes a one-time link for a member: a path that follows the dashboard's URL.
///
/// # Errors
/// There is no such member, or the store is away.
pub async fn one_time_link(
    sign_in: &dyn SignIn,
    workspace: WorkspaceId,
    email: &Email,
) -> Result<String, AdminError> {
    let secret = NewSecret::generate();
    let until = Timestamp::from_unix_micros(Timestamp::now().unix_micros() + LINK_VALID_MICROS);
    sign_in.invite(workspace, email, secret.hash, until).await?;
    Ok(format!("/invite/{}", secret.reveal()))
}

/// Sign-in.
#[async_trait]
pub trait SignIn: Send + Sync {
    /// Makes a one-time link for a member; earlier links of theirs stop working. Links that are too
    /// old are deleted.
    async fn invite(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        link: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError>;

    /// Whom a link signs in; none: it is unknown, used or too old.
    async fn invited(&self, link: SecretHash) -> Result<Option<Identity>, AdminError>;

    /// Uses a link up and begins a session with it; sessions that are over are deleted. False: the
    /// link is not valid.
    async fn use_invitation(
        &self,
        link: SecretHash,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<bool, AdminError>;

    /// The memberships of an address that have a password, and its hash (a PHC string), the
    /// oldest first.
    async fn passwords(&self, email: &Email) -> Result<Vec<(MemberId, String)>, AdminError>;

    /// Sets a member's password, and ends the member's other sessions and open links.
    async fn set_password(
        &self,
        member: MemberId,
        password_hash: &str,
        kept_session: SecretHash,
    ) -> Result<(), AdminError>;

    /// Begins a session by password; sessions that are over are deleted.
    async fn begin_session(
        &self,
        member: MemberId,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError>;

    /// Whose session it is; none: it is unknown or over, or the membership has ended.
    async fn session(&self, session: SecretHash) -> Result<Option<Identity>, AdminError>;

    /// Ends a session.
    async fn end_session(&self, session: SecretHash) -> Result<(), AdminError>;
}
