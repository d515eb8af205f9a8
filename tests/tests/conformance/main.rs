//! The conformance suite: what every engine of a port has to do, run on each of them.

#![allow(missing_docs, clippy::expect_used)]

mod admin;
mod directory;
mod queue;
mod store;

use std::sync::Arc;

use trailpad_common::admin::{Admin, NewWebhook, Webhook};
use trailpad_common::email::Email;
use trailpad_common::ports::{DirectorySource, Store};
use trailpad_common::token::NewToken;
use trailpad_engines::postgres::{Config, PostgresAdmin, PostgresDirectory, PostgresStore};
use trailpad_tests::Sandbox;

/// A store engine with an empty store.
struct StoreEngine {
    store: Arc<dyn Store>,
    admin: Arc<dyn Admin>,
    directory: Box<dyn DirectorySource>,
}

/// Every store engine there is.
async fn store_engines() -> Vec<StoreEngine> {
    let sandbox = Sandbox::new().await;
    let config = Config::parse(&sandbox.database_url, "conformance").expect("a URL");
    vec![StoreEngine {
        store: Arc::new(PostgresStore::new(&config, 4)),
        admin: Arc::new(PostgresAdmin::new(&config)),
        directory: Box::new(PostgresDirectory::new(config)),
    }]
}

fn email(text: &str) -> Email {
    Email::parse(text).expect("an address")
}

impl StoreEngine {
    /// Makes workspace, owner and project.
    async fn seed(&self) {
        self.admin.create_workspace("Acme", &email("owner@example.com")).await.expect("made");
        self.admin.create_project("Acme", "Support").await.expect("made");
    }

    /// Makes a webhook of the seeded project.
    async fn webhook(&self, name: &str) -> (Webhook, NewToken) {
        let token = NewToken::generate();
        let new = NewWebhook {
            workspace: "Acme".into(),
            project: "Support".into(),
            name: name.into(),
            creator: email("owner@example.com"),
            token: token.presented,
        };
        (self.admin.create_webhook(&new).await.expect("made"), token)
    }
}
