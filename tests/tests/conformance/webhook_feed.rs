//! The directory's source: nothing that was committed is missed.

use std::collections::HashSet;
use std::time::Duration;

use trailpad_common::admin::NewWebhook;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::NewToken;

use super::{StoreEngine, store_engines};

#[tokio::test]
async fn each_change_is_seen_once_in_the_order_of_commits() {
    for mut engine in store_engines().await {
        let empty = engine.directory.changes_since(0).await.expect("answered");
        assert!(empty.webhooks.is_empty());
        engine.seed().await;
        let (webhook, token) = engine.webhook("W").await;
        let made = engine.directory.changes_since(empty.revision).await.expect("answered");
        assert_eq!(made.webhooks.len(), 1);
        assert_eq!(
            (made.webhooks[0].id, made.webhooks[0].public_id),
            (webhook.id, token.presented.public_id)
        );
        assert!(made.webhooks[0].secret_hash.matches(&token.presented.secret_hash));

        let none = engine.directory.changes_since(made.revision).await.expect("answered");
        assert!(none.webhooks.is_empty() && none.revision == made.revision);

        let new = NewToken::for_public_id(token.presented.public_id);
        let until = Timestamp::from_unix_micros(4_000_000_000_000_000);
        let rotate = async |since: i64| {
            engine.admin.rotate_webhook(webhook.id, since, new.presented, until).await
        };
        let rotation = rotate(webhook.revision).await.expect("rotated");
        assert!(rotate(webhook.revision).await.is_err(), "asked for twice");
        let rotated = engine.directory.changes_since(made.revision).await.expect("answered");
        let (hash, valid_until) = rotated.webhooks[0].previous.expect("the old secret");
        assert!(hash.matches(&token.presented.secret_hash) && valid_until == until);
        assert!(rotated.webhooks[0].secret_hash.matches(&new.presented.secret_hash));

        engine.admin.revoke_webhook(webhook.id).await.expect("revoked");
        let revoked = engine.directory.changes_since(rotated.revision).await.expect("answered");
        assert!(revoked.webhooks[0].revoked);
        assert!(rotate(rotation.revision).await.is_err(), "revoked");
        let all = engine.directory.changes_since(0).await.expect("answered");
        assert_eq!(all.webhooks.len(), 1, "nothing is hard-deleted");
    }
}

#[tokio::test]
async fn what_is_made_concurrently_is_never_missed_by_a_reader_beside_it() {
    const COUNT: usize = 30;
    for engine in store_engines().await {
        engine.seed().await;
        let seeded = engine.new_webhook("W").await;
        let StoreEngine { admin, mut directory, .. } = engine;
        let makers = (0..COUNT).map(async |n| {
            let token = NewToken::generate().presented;
            let new = NewWebhook { name: format!("W{n}"), token, ..seeded.clone() };
            admin.create_webhook(&new).await.expect("made").id
        });
        // As a gateway does: only what is above the last revision seen.
        let reader = async {
            let (mut seen, mut revision) = (HashSet::new(), 0);
            while seen.len() < COUNT {
                let changes = directory.changes_since(revision).await.expect("answered");
                revision = changes.revision;
                seen.extend(changes.webhooks.iter().map(|webhook| webhook.id));
            }
            seen
        };
        let reader = tokio::time::timeout(Duration::from_secs(20), reader);
        let (made, seen) = tokio::join!(futures_util::future::join_all(makers), reader);
        assert_eq!(seen.expect("nothing was missed"), made.into_iter().collect());
    }
}
