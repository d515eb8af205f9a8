//! Sign-in to the dashboard: invitations, passwords, sessions. The store holds only hashes of these
//! secrets.

use std::time::Duration;

use async_trait::async_trait;

use super::{AdminError, Role};
use crate::email::Email;
use crate::id::{MemberId, WorkspaceId};
use crate::secret::{NewSecret, SecretHash};
use crate::timestamp::Timestamp;

/// A signed-in member, or the member that a link would sign in.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub workspace_id: WorkspaceId,
    /// The workspace's name.
    pub workspace: String,
    pub member_id: MemberId,
    pub email: Email,
    pub role: Role,
    pub has_password: bool,
    /// `true` if a one-time link started the session and no password was set in it since.
    pub by_link: bool,
}

const LINK_VALIDITY: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Creates a one-time link for a member, valid for three days. Returns the path to append to the
/// dashboard's URL.
///
/// # Errors
/// The member does not exist, or the store is unavailable.
pub async fn one_time_link(
    sign_in: &dyn SignIn,
    workspace: WorkspaceId,
    email: &Email,
) -> Result<String, AdminError> {
    let secret = NewSecret::generate();
    let valid_until = Timestamp::now() + LINK_VALIDITY;
    sign_in.invite(workspace, email, secret.hash, valid_until).await?;
    Ok(format!("/invite/{}", secret.reveal()))
}

#[async_trait]
pub trait SignIn: Send + Sync {
    /// Creates a one-time link for a member and invalidates earlier links of the member. Deletes
    /// expired links.
    async fn invite(
        &self,
        workspace: WorkspaceId,
        email: &Email,
        link: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError>;

    /// The member that a link signs in; `None` if the link is unknown, used or expired.
    async fn invited(&self, link: SecretHash) -> Result<Option<Identity>, AdminError>;

    /// Consumes a link and starts a session. Deletes expired sessions. Returns `false` if the link is
    /// not valid.
    async fn use_invitation(
        &self,
        link: SecretHash,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<bool, AdminError>;

    /// The memberships of an address that have a password, with its hash (a PHC string), oldest
    /// first.
    async fn passwords(&self, email: &Email) -> Result<Vec<(MemberId, String)>, AdminError>;

    /// Sets a member's password. Ends the member's open links and all sessions except
    /// `kept_session`.
    async fn set_password(
        &self,
        member: MemberId,
        password_hash: &str,
        kept_session: SecretHash,
    ) -> Result<(), AdminError>;

    /// Starts a session of a member who signed in by password. Deletes expired sessions.
    async fn begin_session(
        &self,
        member: MemberId,
        session: SecretHash,
        valid_until: Timestamp,
    ) -> Result<(), AdminError>;

    /// The member of a session; `None` if the session is unknown or expired, or the membership has
    /// ended.
    async fn session(&self, session: SecretHash) -> Result<Option<Identity>, AdminError>;

    async fn end_session(&self, session: SecretHash) -> Result<(), AdminError>;
}
