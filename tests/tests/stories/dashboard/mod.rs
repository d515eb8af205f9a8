//! The dashboard in a real browser, on both store engines.

mod access;
mod documented_path;
mod looks;
mod outages;
mod pace;
mod repair;
mod roles;
mod script;
mod sign_in;
mod visitor;

use std::path::{Path, PathBuf};

use trailpad_tests::browser::Browser;
use trailpad_tests::{Embedded, Role, Sandbox};

/// A product that serves, and a browser whose owner is signed in.
struct Stage {
    /// On servers: their database.
    sandbox: Option<Sandbox>,
    embedded: Embedded,
    serve: Role,
    browser: Browser,
}

impl Stage {
    /// On files.
    async fn on_files() -> Self {
        Self::with(None, &[]).await
    }

    /// On PostgreSQL and RabbitMQ.
    async fn on_servers() -> Self {
        let sandbox = Sandbox::new().await;
        let (database, amqp) = (sandbox.database_url.clone(), sandbox.amqp_url.clone());
        let queue = sandbox.queue.clone();
        let words = ["--database-url", &database, "--amqp-url", &amqp, "--queue", &queue]
            .map(str::to_owned);
        Self::with(Some(sandbox), &words).await
    }

    async fn with(sandbox: Option<Sandbox>, words: &[String]) -> Self {
        let embedded = Embedded::default();
        let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
        all.extend(["--retry-schedule", "100ms"]);
        let (serve, browser) = tokio::join!(embedded.serve(&all), Browser::open());
        let stage = Self { sandbox, embedded, serve, browser };
        let link = std::fs::read_to_string(stage.embedded.path().join("first-sign-in-url"));
        stage.browser.goto(link.expect("a link").trim()).await;
        stage.browser.sees("Welcome to My Workspace").await;
        stage.browser.click("Sign in").await;
        stage.browser.sees("All projects").await;
        stage
    }

    /// Opens a page of the dashboard.
    async fn open(&self, path: &str) {
        self.browser.goto(&format!("{}{path}", self.serve.dashboard_url().await)).await;
    }

    async fn picture(&self, name: &str) {
        let name = if self.sandbox.is_some() { format!("servers/{name}") } else { name.to_owned() };
        self.browser.picture(&pictures().join(format!("{name}.png"))).await;
    }
}

/// Where pictures go: below target/, or where they are wanted.
fn pictures() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
    std::env::var_os("TRAILPAD_TEST_PICTURES").map_or_else(usual, PathBuf::from)
}
