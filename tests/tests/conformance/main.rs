//! The conformance suite: the behaviour that every engine of a port must have.
//!
//! Each test runs once per engine, as `test::postgres`, `test::rabbitmq` or `test::sqlite`.

#![allow(missing_docs, clippy::expect_used)]

/// Runs each test once on every store engine. A test is a function that takes a [`StoreEngine`].
macro_rules! on_every_store {
    ($($test:ident,)+) => {$(
        mod $test {
            #[tokio::test]
            async fn postgres() {
                super::$test($crate::StoreEngine::postgres().await).await;
            }

            #[tokio::test]
            async fn sqlite() {
                super::$test($crate::StoreEngine::sqlite().await).await;
            }
        }
    )+};
}

mod activities;
mod admin;
mod dead_letters;
mod fixture;
mod queue;
mod retention;
mod retries;
mod sign_in;
mod store;
mod webhook_feed;

use std::sync::Arc;

use tempfile::TempDir;
use trailpad_common::admin::{Administration, NewWebhook, Webhook};
use trailpad_common::email::Email;
use trailpad_common::id::WorkspaceId;
use trailpad_common::queue::QueueBackend;
use trailpad_common::store::{Store, StoreBackend};
use trailpad_common::webhook::token::NewToken;
use trailpad_engines::postgres::PostgresBackend;
use trailpad_engines::sqlite::{DataDir, SqliteBackend};
use trailpad_tests::Sandbox;

/// A store engine with an empty store.
struct StoreEngine {
    /// The data directory of SQLite; dropping it deletes the files.
    _directory: Option<TempDir>,
    backend: Arc<dyn StoreBackend>,
    store: Arc<dyn Store>,
    admin: Arc<dyn Administration>,
}

impl StoreEngine {
    async fn postgres() -> Self {
        let sandbox = Sandbox::new().await;
        let backend = PostgresBackend::new(&sandbox.database_url, "conformance");
        Self::of(None, Arc::new(backend.expect("the database URL should be valid")))
    }

    async fn sqlite() -> Self {
        let (directory, backend) = sqlite().await;
        Self::of(Some(directory), Arc::new(backend))
    }

    fn of(directory: Option<TempDir>, backend: Arc<dyn StoreBackend>) -> Self {
        Self {
            _directory: directory,
            store: backend.store(4).expect("the store should open"),
            admin: backend.administration().expect("the store should open"),
            backend,
        }
    }
}

/// A new data directory, migrated.
async fn sqlite() -> (TempDir, SqliteBackend) {
    let directory = tempfile::tempdir().expect("creating a directory should succeed");
    let backend = SqliteBackend::serving(DataDir::at(directory.path()), 0)
        .expect("the data directory should not be locked");
    StoreBackend::migrate(&backend).await.expect("migrating the store should succeed");
    QueueBackend::migrate(&backend).await.expect("migrating the queue should succeed");
    (directory, backend)
}

fn email(text: &str) -> Email {
    Email::parse(text).expect("the e-mail address should be valid")
}

impl StoreEngine {
    /// Creates workspace Acme, its owner and project Support.
    async fn seed(&self) -> WorkspaceId {
        let owner = email("owner@example.com");
        let (acme, _) = self
            .admin
            .create_workspace("Acme", &owner)
            .await
            .expect("creating a workspace should succeed");
        self.admin
            .create_project(acme.id, "Support")
            .await
            .expect("creating a project should succeed");
        acme.id
    }

    /// A webhook of the seeded project and owner that is not created yet.
    async fn new_webhook(&self, name: &str) -> NewWebhook {
        let workspace_id =
            self.admin.workspace("Acme").await.expect("workspace Acme should exist").id;
        NewWebhook {
            workspace_id,
            project_id: self
                .admin
                .projects(workspace_id)
                .await
                .expect("listing projects should succeed")[0]
                .id,
            creator_id: self
                .admin
                .members(workspace_id)
                .await
                .expect("listing members should succeed")[0]
                .id,
            name: name.into(),
            token: NewToken::generate().presented,
        }
    }

    /// Creates a webhook of the seeded project.
    async fn webhook(&self, name: &str) -> (Webhook, NewToken) {
        let token = NewToken::generate();
        let new = NewWebhook { token: token.presented, ..self.new_webhook(name).await };
        (self.admin.create_webhook(&new).await.expect("creating a webhook should succeed"), token)
    }
}
