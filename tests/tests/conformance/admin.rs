//! Administration: clashes and what is missing are told in a sentence that helps.

use trailpad_common::admin::{AdminError, NewWebhook, Role};
use trailpad_common::id::WebhookId;

use super::{email, store_engines};

/// The sentence of an error that is the asker's.
fn sentence<T: std::fmt::Debug>(result: Result<T, AdminError>) -> String {
    match result {
        Err(AdminError::NotFound(sentence) | AdminError::Conflict(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn names_are_unique_where_people_look_them_up() {
    for engine in store_engines().await {
        let acme = engine.seed().await;
        let admin = &engine.admin;
        let owner = email("owner@example.com");
        assert!(sentence(admin.create_workspace("Acme", &owner).await).contains("already"));
        assert!(sentence(admin.create_project(acme, "Support").await).contains("already"));
        assert!(sentence(admin.add_member(acme, &owner, Role::Member).await).contains("already"));
        let (other, _) = admin.create_workspace("Other", &owner).await.expect("made");
        admin.create_project(other.id, "Support").await.expect("made");
    }
}

#[tokio::test]
async fn a_webhook_is_made_of_a_project_and_a_member_of_one_workspace() {
    for engine in store_engines().await {
        engine.seed().await;
        let (admin, good) = (&engine.admin, engine.new_webhook("W").await);
        let owner = email("owner@example.com");
        let (other, member) = admin.create_workspace("Other", &owner).await.expect("made");
        let project = admin.create_project(other.id, "Sales").await.expect("made");
        for bad in [
            NewWebhook { workspace_id: other.id, ..good.clone() },
            NewWebhook { project_id: project.id, ..good.clone() },
            NewWebhook { creator_id: member.id, ..good.clone() },
        ] {
            assert!(sentence(admin.create_webhook(&bad).await).contains("no such project"));
        }
        assert!(admin.webhooks(None).await.expect("listed").is_empty());
        let missing = sentence(admin.workspace("Nope").await);
        assert!(missing.contains("trailpad workspace create"));
        let missing = sentence(admin.revoke_webhook(WebhookId::generate()).await);
        assert!(missing.contains("trailpad webhook list"));
    }
}

#[tokio::test]
async fn lists_show_what_was_made() {
    for engine in store_engines().await {
        let acme = engine.seed().await;
        let admin = &engine.admin;
        admin.add_member(acme, &email("Jane@Example.com"), Role::Admin).await.expect("added");
        let members = admin.members(acme).await.expect("listed");
        let shown: Vec<_> =
            members.iter().map(|member| (member.email.as_str(), member.role)).collect();
        assert_eq!(shown, [("jane@example.com", Role::Admin), ("owner@example.com", Role::Owner)]);
        let (one, _) = engine.webhook("One").await;
        let (two, _) = engine.webhook("Two").await;
        let revoked = admin.revoke_webhook(one.id).await.expect("revoked");
        assert!(revoked.revoked_at.is_some());
        let again = admin.revoke_webhook(one.id).await.expect("again");
        assert_eq!(again.revoked_at, revoked.revoked_at, "revoked once");
        let webhooks = admin.webhooks(Some(acme)).await.expect("listed");
        assert_eq!(webhooks, [two, revoked]);
    }
}
