//! The webhook feed: it returns every committed change.

use std::collections::HashSet;
use std::time::Duration;

use trailpad_common::admin::NewWebhook;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::WebhookFeed;
use trailpad_common::webhook::token::NewToken;

use super::StoreEngine;

on_every_store! {
    each_change_is_returned_once_in_commit_order,
    a_reader_never_misses_webhooks_that_are_created_concurrently,
}

fn feed(engine: &StoreEngine) -> Box<dyn WebhookFeed> {
    engine.backend.webhook_feed().expect("the webhook feed should open")
}

async fn each_change_is_returned_once_in_commit_order(engine: StoreEngine) {
    let mut feed = feed(&engine);
    let empty = feed.changes_since(0).await.expect("reading changes should succeed");
    assert!(empty.webhooks.is_empty());
    engine.seed().await;
    let (webhook, token) = engine.webhook("W").await;
    let created = feed.changes_since(empty.revision).await.expect("reading changes should succeed");
    assert_eq!(created.webhooks.len(), 1);
    assert_eq!(
        (created.webhooks[0].id, created.webhooks[0].public_id),
        (webhook.id, token.presented.public_id)
    );
    assert!(created.webhooks[0].secret_hash.matches(&token.presented.secret_hash));

    let none = feed.changes_since(created.revision).await.expect("reading changes should succeed");
    assert!(none.webhooks.is_empty() && none.revision == created.revision);

    let new = NewToken::for_public_id(token.presented.public_id);
    let until = Timestamp::from_unix_micros(4_000_000_000_000_000);
    let rotate = async |since: i64| {
        engine.admin.rotate_webhook(webhook.id, since, new.presented, until).await
    };
    let rotation = rotate(webhook.revision).await.expect("rotating the webhook should succeed");
    assert!(rotate(webhook.revision).await.is_err(), "asked for twice");
    let rotated =
        feed.changes_since(created.revision).await.expect("reading changes should succeed");
    let (hash, valid_until) =
        rotated.webhooks[0].previous.expect("the old secret should still be valid");
    assert!(hash.matches(&token.presented.secret_hash) && valid_until == until);
    assert!(rotated.webhooks[0].secret_hash.matches(&new.presented.secret_hash));

    engine.admin.revoke_webhook(webhook.id).await.expect("revoking the webhook should succeed");
    let revoked =
        feed.changes_since(rotated.revision).await.expect("reading changes should succeed");
    assert!(revoked.webhooks[0].revoked);
    assert!(rotate(rotation.revision).await.is_err(), "revoked");
    let all = feed.changes_since(0).await.expect("reading changes should succeed");
    assert_eq!(all.webhooks.len(), 1, "nothing is hard-deleted");
}

async fn a_reader_never_misses_webhooks_that_are_created_concurrently(engine: StoreEngine) {
    const COUNT: usize = 30;
    engine.seed().await;
    let seeded = engine.new_webhook("W").await;
    let admin = &engine.admin;
    let mut feed = feed(&engine);
    let writers = (0..COUNT).map(async |n| {
        let token = NewToken::generate().presented;
        let new = NewWebhook { name: format!("W{n}"), token, ..seeded.clone() };
        admin.create_webhook(&new).await.expect("creating a webhook should succeed").id
    });
    // As a gateway does: it asks only for revisions above the last one seen.
    let reader = async {
        let mut seen = HashSet::new();
        let mut revision = 0;
        while seen.len() < COUNT {
            let changes =
                feed.changes_since(revision).await.expect("reading changes should succeed");
            revision = changes.revision;
            seen.extend(changes.webhooks.iter().map(|webhook| webhook.id));
        }
        seen
    };
    let reader = tokio::time::timeout(Duration::from_secs(20), reader);
    let (created, seen) = tokio::join!(futures_util::future::join_all(writers), reader);
    let seen = seen.expect("the reader should see every webhook");
    assert_eq!(seen, created.into_iter().collect());
}
