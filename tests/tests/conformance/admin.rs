//! Administration: conflicts and missing rows are reported as such.

use trailpad_common::admin::{Conflict, Missing, NewWebhook, Role};
use trailpad_common::id::WebhookId;

use super::{StoreEngine, email};

on_every_store! {
    names_are_unique_within_their_scope,
    a_webhook_needs_a_project_and_a_member_of_its_workspace,
    lists_show_everything_that_was_created,
}

async fn names_are_unique_within_their_scope(engine: StoreEngine) {
    let acme = engine.seed().await;
    let admin = &engine.admin;
    let owner = email("owner@example.com");
    let workspace = admin.create_workspace("Acme", &owner).await.map(|_| ());
    assert_eq!(workspace, Err(Conflict::WorkspaceName("Acme".into()).into()));
    let project = admin.create_project(acme, "Support").await;
    assert_eq!(project, Err(Conflict::ProjectName("Support".into()).into()));
    let member = admin.add_member(acme, &owner, Role::Member).await;
    assert_eq!(member, Err(Conflict::AlreadyMember(owner.clone()).into()));
    let (other, _) =
        admin.create_workspace("Other", &owner).await.expect("creating a workspace should succeed");
    admin.create_project(other.id, "Support").await.expect("creating a project should succeed");
}

async fn a_webhook_needs_a_project_and_a_member_of_its_workspace(engine: StoreEngine) {
    engine.seed().await;
    let admin = &engine.admin;
    let good = engine.new_webhook("W").await;
    let owner = email("owner@example.com");
    let (other, member) =
        admin.create_workspace("Other", &owner).await.expect("creating a workspace should succeed");
    let project =
        admin.create_project(other.id, "Sales").await.expect("creating a project should succeed");
    for bad in [
        NewWebhook { workspace_id: other.id, ..good.clone() },
        NewWebhook { project_id: project.id, ..good.clone() },
        NewWebhook { creator_id: member.id, ..good.clone() },
    ] {
        let created = admin.create_webhook(&bad).await;
        assert_eq!(created, Err(Missing::ProjectOrMember.into()));
    }
    assert!(admin.webhooks(None).await.expect("listing webhooks should succeed").is_empty());
    let missing = admin.workspace("Nope").await;
    assert_eq!(missing, Err(Missing::Workspace("Nope".into()).into()));
    let unknown = WebhookId::generate();
    let missing = admin.revoke_webhook(unknown).await;
    assert_eq!(missing, Err(Missing::Webhook(unknown).into()));
}

async fn lists_show_everything_that_was_created(engine: StoreEngine) {
    let acme = engine.seed().await;
    let admin = &engine.admin;
    admin
        .add_member(acme, &email("Jane@Example.com"), Role::Admin)
        .await
        .expect("adding a member should succeed");
    let members = admin.members(acme).await.expect("listing members should succeed");
    let shown: Vec<_> = members.iter().map(|member| (member.email.as_str(), member.role)).collect();
    assert_eq!(shown, [("jane@example.com", Role::Admin), ("owner@example.com", Role::Owner)]);
    let (one, _) = engine.webhook("One").await;
    let (two, _) = engine.webhook("Two").await;
    let revoked = admin.revoke_webhook(one.id).await.expect("revoking the webhook should succeed");
    assert!(revoked.revoked_at.is_some());
    let again = admin.revoke_webhook(one.id).await.expect("revoking again should succeed");
    assert_eq!(again.revoked_at, revoked.revoked_at, "revoked once");
    let webhooks = admin.webhooks(Some(acme)).await.expect("listing webhooks should succeed");
    assert_eq!(webhooks, [two, revoked]);
}
