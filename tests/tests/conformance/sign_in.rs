//! Sign-in: links work once and for their time, sessions end, and who has left is out.

use trailpad_common::admin::{AdminError, Role};
use trailpad_common::secret::NewSecret;
use trailpad_common::timestamp::Timestamp;

use super::{email, store_engines};

fn seconds_from_now(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(Timestamp::now().unix_micros() + seconds * 1_000_000)
}

#[tokio::test]
async fn a_link_works_once_within_its_time_and_until_there_is_a_later_one() {
    for engine in store_engines().await {
        let acme = engine.seed().await;
        let (sign_in, owner) = (&engine.sign_in, email("owner@example.com"));
        let (first, second, session) =
            (NewSecret::generate(), NewSecret::generate(), NewSecret::generate());
        let soon = seconds_from_now(60);
        sign_in.invite(acme, &owner, first.hash, soon).await.expect("invited");
        sign_in.invite(acme, &owner, second.hash, soon).await.expect("invited");
        assert_eq!(sign_in.invited(first.hash).await.expect("asked"), None, "an earlier link");
        let person = sign_in.invited(second.hash).await.expect("asked").expect("a person");
        assert_eq!((person.email.as_str(), person.role), ("owner@example.com", Role::Owner));
        let used = async |link: &NewSecret| {
            sign_in.use_invitation(link.hash, session.hash, soon).await.expect("asked")
        };
        assert!(!used(&first).await);
        assert!(used(&second).await);
        assert!(!sign_in.use_invitation(second.hash, first.hash, soon).await.expect("asked"));
        let seen = sign_in.session(session.hash).await.expect("asked").expect("a session");
        assert_eq!((seen.workspace.as_str(), seen.by_link), ("Acme", true));
        sign_in.set_password(seen.member_id, "$argon2id$x", session.hash).await.expect("set");
        let seen = sign_in.session(session.hash).await.expect("asked").expect("a session");
        assert!(!seen.by_link, "from now on the password is known");
        sign_in.end_session(session.hash).await.expect("ended");
        assert_eq!(sign_in.session(session.hash).await.expect("asked"), None);

        let late = NewSecret::generate();
        sign_in.invite(acme, &owner, late.hash, seconds_from_now(-1)).await.expect("invited");
        assert_eq!(sign_in.invited(late.hash).await.expect("asked"), None, "too old");
        assert!(!used(&late).await);
        let nobody = sign_in.invite(acme, &email("x@example.com"), late.hash, soon).await;
        assert!(matches!(nobody, Err(AdminError::NotFound(_))));
    }
}

#[tokio::test]
async fn a_password_ends_other_sessions_and_the_end_of_a_membership_ends_all() {
    for engine in store_engines().await {
        let acme = engine.seed().await;
        let (sign_in, jane) = (&engine.sign_in, email("jane@example.com"));
        let member = engine.admin.add_member(acme, &jane, Role::Member).await.expect("added");
        let [one, other, over] = [(); 3].map(|()| NewSecret::generate());
        for (session, seconds) in [(&one, 60), (&other, 60), (&over, -1)] {
            let until = seconds_from_now(seconds);
            sign_in.begin_session(member.id, session.hash, until).await.expect("begun");
        }
        assert_eq!(sign_in.session(over.hash).await.expect("asked"), None, "it is over");
        assert!(sign_in.passwords(&jane).await.expect("asked").is_empty());
        let link = NewSecret::generate();
        let soon = seconds_from_now(60);
        sign_in.invite(acme, &jane, link.hash, soon).await.expect("invited");
        sign_in.set_password(member.id, "$argon2id$x", one.hash).await.expect("set");
        assert_eq!(sign_in.invited(link.hash).await.expect("asked"), None, "an open link");
        let known = sign_in.passwords(&jane).await.expect("asked");
        assert_eq!(known, [(member.id, "$argon2id$x".to_owned())]);
        assert!(sign_in.session(one.hash).await.expect("asked").expect("kept").has_password);
        assert_eq!(sign_in.session(other.hash).await.expect("asked"), None);
        engine.admin.end_member(acme, &jane).await.expect("ended");
        assert_eq!(sign_in.session(one.hash).await.expect("asked"), None);
        assert!(sign_in.passwords(&jane).await.expect("asked").is_empty());
        let back = engine.admin.add_member(acme, &jane, Role::Member).await.expect("back");
        assert_eq!(back.id, member.id);
        assert!(sign_in.passwords(&jane).await.expect("asked").is_empty(), "without a password");
    }
}

#[tokio::test]
async fn a_workspace_keeps_an_owner_and_names_that_are_taken_stay() {
    for engine in store_engines().await {
        let acme = engine.seed().await;
        let (admin, owner) = (&engine.admin, email("owner@example.com"));
        let refused =
            |result: Result<(), AdminError>| matches!(result, Err(AdminError::Conflict(_)));
        assert!(refused(admin.set_role(acme, &owner, Role::Admin).await));
        assert!(refused(admin.end_member(acme, &owner).await));
        let jane = email("jane@example.com");
        admin.add_member(acme, &jane, Role::Member).await.expect("added");
        admin.set_role(acme, &jane, Role::Owner).await.expect("a second owner");
        admin.end_member(acme, &owner).await.expect("no longer the only one");
        assert!(refused(admin.end_member(acme, &jane).await));

        let (elsewhere, _) = admin.create_workspace("Other", &owner).await.expect("made");
        assert!(refused(admin.rename_workspace(acme, "Other").await));
        admin.rename_workspace(acme, "Acme 2").await.expect("renamed");
        let other = admin.create_project(acme, "Sales").await.expect("made");
        assert!(refused(admin.rename_project(acme, other.id, "Support").await));
        admin.rename_project(acme, other.id, "Marketing").await.expect("renamed");
        let foreign = admin.rename_project(elsewhere.id, other.id, "X").await;
        assert!(matches!(foreign, Err(AdminError::NotFound(_))));
    }
}
