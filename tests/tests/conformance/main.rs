//! The conformance suite: what every engine of a port has to do, run on each of them.

#![allow(missing_docs, clippy::expect_used)]

mod activities;
mod admin;
mod dead_letters;
mod queue;
mod retention;
mod sign_in;
mod store;
mod webhook_feed;

use std::sync::Arc;

use tempfile::TempDir;
use trailpad_common::admin::{
    ActivityQueries, Admin, DeadLetterAdmin, NewWebhook, Retention, SignIn, Webhook,
};
use trailpad_common::email::Email;
use trailpad_common::id::WorkspaceId;
use trailpad_common::store::Store;
use trailpad_common::traffic::TrafficLog;
use trailpad_common::webhook::WebhookFeed;
use trailpad_common::webhook::token::NewToken;
use trailpad_engines::postgres::{Config, PostgresAdmin, PostgresStore, PostgresWebhookFeed};
use trailpad_engines::sqlite::{DataDir, SqliteAdmin, SqliteStore, SqliteWebhookFeed};
use trailpad_tests::Sandbox;

/// A store engine with an empty store.
struct StoreEngine {
    /// Holds the data directory of an embedded one.
    _directory: Option<TempDir>,
    store: Arc<dyn Store>,
    admin: Arc<dyn Admin>,
    dead_letters: Arc<dyn DeadLetterAdmin>,
    retention: Arc<dyn Retention>,
    sign_in: Arc<dyn SignIn>,
    arrivals: Arc<dyn ActivityQueries>,
    traffic: Arc<dyn TrafficLog>,
    directory: Box<dyn WebhookFeed>,
}

/// Every store engine there is.
async fn store_engines() -> Vec<StoreEngine> {
    vec![postgres().await, sqlite()]
}

async fn postgres() -> StoreEngine {
    let sandbox = Sandbox::new().await;
    let config = Config::parse(&sandbox.database_url, "conformance").expect("a URL");
    StoreEngine {
        _directory: None,
        store: Arc::new(PostgresStore::new(&config, 4)),
        admin: Arc::new(PostgresAdmin::new(&config)),
        dead_letters: Arc::new(PostgresAdmin::new(&config)),
        retention: Arc::new(PostgresAdmin::new(&config)),
        sign_in: Arc::new(PostgresAdmin::new(&config)),
        arrivals: Arc::new(PostgresAdmin::new(&config)),
        traffic: Arc::new(PostgresAdmin::new(&config)),
        directory: Box::new(PostgresWebhookFeed::new(config)),
    }
}

fn sqlite() -> StoreEngine {
    let (directory, data) = data_dir();
    StoreEngine {
        _directory: Some(directory),
        store: Arc::new(SqliteStore::open(&data).expect("a store")),
        admin: Arc::new(SqliteAdmin::open(&data).expect("a store")),
        dead_letters: Arc::new(SqliteAdmin::open(&data).expect("a store")),
        retention: Arc::new(SqliteAdmin::open(&data).expect("a store")),
        sign_in: Arc::new(SqliteAdmin::open(&data).expect("a store")),
        arrivals: Arc::new(SqliteAdmin::open(&data).expect("a store")),
        traffic: Arc::new(SqliteAdmin::open(&data).expect("a store")),
        directory: Box::new(SqliteWebhookFeed::open(&data).expect("a store")),
    }
}

/// A data directory with new files.
fn data_dir() -> (TempDir, DataDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let data = DataDir::at(directory.path());
    let lock = data.lock().expect("ours");
    data.migrate_store(&lock).and(data.migrate_queue(&lock)).expect("migrated");
    (directory, data)
}

fn email(text: &str) -> Email {
    Email::parse(text).expect("an address")
}

impl StoreEngine {
    /// Makes workspace Acme, its owner and project Support.
    async fn seed(&self) -> WorkspaceId {
        let owner = email("owner@example.com");
        let (acme, _) = self.admin.create_workspace("Acme", &owner).await.expect("made");
        self.admin.create_project(acme.id, "Support").await.expect("made");
        acme.id
    }

    /// A webhook of what was seeded, to be made.
    async fn new_webhook(&self, name: &str) -> NewWebhook {
        let workspace_id = self.admin.workspace("Acme").await.expect("seeded").id;
        NewWebhook {
            workspace_id,
            project_id: self.admin.projects(workspace_id).await.expect("listed")[0].id,
            creator_id: self.admin.members(workspace_id).await.expect("listed")[0].id,
            name: name.into(),
            token: NewToken::generate().presented,
        }
    }

    /// Makes a webhook of the seeded project.
    async fn webhook(&self, name: &str) -> (Webhook, NewToken) {
        let token = NewToken::generate();
        let new = NewWebhook { token: token.presented, ..self.new_webhook(name).await };
        (self.admin.create_webhook(&new).await.expect("made"), token)
    }
}
