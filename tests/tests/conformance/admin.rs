//! Administration: clashes and what is missing are told in a sentence that helps.

use trailpad_common::admin::{AdminError, NewWebhook, Role};
use trailpad_common::id::WebhookId;
use trailpad_common::token::NewToken;

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
        engine.seed().await;
        let admin = &engine.admin;
        let owner = email("owner@example.com");
        assert!(sentence(admin.create_workspace("Acme", &owner).await).contains("already"));
        assert!(sentence(admin.create_project("Acme", "Support").await).contains("already"));
        assert!(sentence(admin.add_member("Acme", &owner, Role::Member).await).contains("already"));
        admin.create_workspace("Other", &owner).await.expect("made");
        admin.create_project("Other", "Support").await.expect("made");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_command_that_makes_it() {
    for engine in store_engines().await {
        engine.seed().await;
        let admin = &engine.admin;
        let new = |workspace: &str, project: &str, creator: &str| NewWebhook {
            workspace: workspace.into(),
            project: project.into(),
            name: "W".into(),
            creator: email(creator),
            token: NewToken::generate().presented,
        };
        for (new, hint) in [
            (new("Nope", "Support", "owner@example.com"), "trailpad workspace create"),
            (new("Acme", "Nope", "owner@example.com"), "trailpad project create"),
            (new("Acme", "Support", "nobody@example.com"), "trailpad member add"),
        ] {
            assert!(sentence(admin.create_webhook(&new).await).contains(hint), "{hint}");
        }
        assert!(sentence(admin.members("Nope").await).contains("trailpad workspace create"));
        let missing = sentence(admin.revoke_webhook(WebhookId::generate()).await);
        assert!(missing.contains("trailpad webhook list"));
    }
}

#[tokio::test]
async fn lists_show_what_was_made() {
    for engine in store_engines().await {
        engine.seed().await;
        let admin = &engine.admin;
        admin.add_member("Acme", &email("Jane@Example.com"), Role::Admin).await.expect("added");
        let members = admin.members("Acme").await.expect("listed");
        let shown: Vec<_> =
            members.iter().map(|member| (member.email.as_str(), member.role)).collect();
        assert_eq!(shown, [("jane@example.com", Role::Admin), ("owner@example.com", Role::Owner)]);
        let (one, _) = engine.webhook("One").await;
        let (two, _) = engine.webhook("Two").await;
        let revoked = admin.revoke_webhook(one.id).await.expect("revoked");
        assert!(revoked.revoked_at.is_some());
        let again = admin.revoke_webhook(one.id).await.expect("again");
        assert_eq!(again.revoked_at, revoked.revoked_at, "revoked once");
        let webhooks = admin.webhooks(Some("Acme")).await.expect("listed");
        assert_eq!(webhooks, [two, revoked]);
    }
}
