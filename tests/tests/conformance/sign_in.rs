//! Sign-in: one-time links, passwords, and sessions that end with the membership.

use trailpad_common::admin::{AdminError, Identity, Role};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, WorkspaceId};
use trailpad_common::secret::NewSecret;
use trailpad_common::timestamp::Timestamp;

use super::{StoreEngine, email};

const PASSWORD_HASH: &str = "$argon2id$x";

/// Calls that should succeed; `until` is in seconds from now.
impl StoreEngine {
    async fn invite(&self, workspace_id: WorkspaceId, email: &Email, link: &NewSecret, until: i64) {
        let invited =
            self.admin.invite(workspace_id, email, link.hash, seconds_from_now(until)).await;
        invited.expect("inviting a member should succeed");
    }

    async fn invited(&self, link: &NewSecret) -> Option<Identity> {
        let invited = self.admin.invited(link.hash).await;
        invited.expect("reading the invitation should succeed")
    }

    async fn use_invitation(&self, link: &NewSecret, session: &NewSecret) -> bool {
        let soon = seconds_from_now(60);
        let used = self.admin.use_invitation(link.hash, session.hash, soon).await;
        used.expect("using the invitation should succeed")
    }

    async fn set_password(&self, member_id: MemberId, session: &NewSecret) {
        let set = self.admin.set_password(member_id, PASSWORD_HASH, session.hash).await;
        set.expect("setting the password should succeed");
    }

    async fn session(&self, session: &NewSecret) -> Option<Identity> {
        let found = self.admin.session(session.hash).await;
        found.expect("reading the session should succeed")
    }

    async fn passwords(&self, email: &Email) -> Vec<(MemberId, String)> {
        let passwords = self.admin.passwords(email).await;
        passwords.expect("reading the passwords should succeed")
    }
}

fn seconds_from_now(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(Timestamp::now().unix_micros() + seconds * 1_000_000)
}

on_every_store! {
    a_link_works_once_until_it_expires_or_a_later_one_exists,
    a_password_ends_other_sessions_and_the_end_of_a_membership_ends_all,
    a_workspace_keeps_an_owner_and_taken_names_are_rejected,
}

async fn a_link_works_once_until_it_expires_or_a_later_one_exists(engine: StoreEngine) {
    let acme = engine.seed().await;
    let owner = email("owner@example.com");
    let [first, second, session, late] = [(); 4].map(|()| NewSecret::generate());
    engine.invite(acme, &owner, &first, 60).await;
    engine.invite(acme, &owner, &second, 60).await;
    assert_eq!(engine.invited(&first).await, None, "an earlier link");
    let person = engine.invited(&second).await.expect("the invitation should be valid");
    assert_eq!((person.email.as_str(), person.role), ("owner@example.com", Role::Owner));
    assert!(!engine.use_invitation(&first, &session).await);
    assert!(engine.use_invitation(&second, &session).await);
    assert!(!engine.use_invitation(&second, &first).await);
    let seen = engine.session(&session).await.expect("the session should exist");
    assert_eq!((seen.workspace.as_str(), seen.by_link), ("Acme", true));
    engine.set_password(seen.member_id, &session).await;
    let seen = engine.session(&session).await.expect("the session should exist");
    assert!(!seen.by_link, "from now on the password is known");
    engine.admin.end_session(session.hash).await.expect("ending the session should succeed");
    assert_eq!(engine.session(&session).await, None);

    engine.invite(acme, &owner, &late, -1).await;
    assert_eq!(engine.invited(&late).await, None, "expired");
    assert!(!engine.use_invitation(&late, &session).await);
    let soon = seconds_from_now(60);
    let nobody = engine.admin.invite(acme, &email("x@example.com"), late.hash, soon).await;
    assert!(matches!(nobody, Err(AdminError::NotFound(_))));
}

async fn a_password_ends_other_sessions_and_the_end_of_a_membership_ends_all(engine: StoreEngine) {
    let acme = engine.seed().await;
    let jane = email("jane@example.com");
    let add = async || {
        let added = engine.admin.add_member(acme, &jane, Role::Member).await;
        added.expect("adding a member should succeed")
    };
    let member = add().await;
    let [one, other, expired, link] = [(); 4].map(|()| NewSecret::generate());
    for (session, until) in [(&one, 60), (&other, 60), (&expired, -1)] {
        let until = seconds_from_now(until);
        let begun = engine.admin.begin_session(member.id, session.hash, until).await;
        begun.expect("beginning a session should succeed");
    }
    assert_eq!(engine.session(&expired).await, None);
    assert!(engine.passwords(&jane).await.is_empty());
    engine.invite(acme, &jane, &link, 60).await;
    engine.set_password(member.id, &one).await;
    assert_eq!(engine.invited(&link).await, None, "an open link");
    assert_eq!(engine.passwords(&jane).await, [(member.id, PASSWORD_HASH.to_owned())]);
    let session = engine.session(&one).await.expect("the session should exist");
    assert!(session.has_password);
    assert_eq!(engine.session(&other).await, None);
    engine.admin.end_member(acme, &jane).await.expect("ending the membership should succeed");
    assert_eq!(engine.session(&one).await, None);
    assert!(engine.passwords(&jane).await.is_empty());
    let again = add().await;
    assert_eq!(again.id, member.id);
    assert!(engine.passwords(&jane).await.is_empty(), "without a password");
}

async fn a_workspace_keeps_an_owner_and_taken_names_are_rejected(engine: StoreEngine) {
    let acme = engine.seed().await;
    let admin = &engine.admin;
    let owner = email("owner@example.com");
    let is_conflict =
        |result: Result<(), AdminError>| matches!(result, Err(AdminError::Conflict(_)));
    assert!(is_conflict(admin.set_role(acme, &owner, Role::Admin).await));
    assert!(is_conflict(admin.end_member(acme, &owner).await));
    let jane = email("jane@example.com");
    admin.add_member(acme, &jane, Role::Member).await.expect("adding a member should succeed");
    admin.set_role(acme, &jane, Role::Owner).await.expect("making Jane an owner should succeed");
    admin.end_member(acme, &owner).await.expect("an owner should leave while another one stays");
    assert!(is_conflict(admin.end_member(acme, &jane).await));

    let (elsewhere, _) =
        admin.create_workspace("Other", &owner).await.expect("creating a workspace should succeed");
    assert!(is_conflict(admin.rename_workspace(acme, "Other").await));
    admin.rename_workspace(acme, "Acme 2").await.expect("renaming the workspace should succeed");
    let other =
        admin.create_project(acme, "Sales").await.expect("creating a project should succeed");
    assert!(is_conflict(admin.rename_project(acme, other.id, "Support").await));
    admin
        .rename_project(acme, other.id, "Marketing")
        .await
        .expect("renaming the project should succeed");
    let foreign = admin.rename_project(elsewhere.id, other.id, "X").await;
    assert!(matches!(foreign, Err(AdminError::NotFound(_))));
}
