//! The dashboard in a real browser, on both store engines.

mod access;
mod appearance;
mod documented_path;
mod outages;
mod pace;
mod repair;
mod roles;
mod script;
mod sign_in;
mod visitor;

use std::path::PathBuf;

use trailpad_tests::browser::Browser;
use trailpad_tests::{Embedded, Role, Sandbox, repository};

/// A running `serve`, and a browser in which the owner is signed in.
struct Stage {
    /// `None` on files.
    sandbox: Option<Sandbox>,
    embedded: Embedded,
    serve: Role,
    browser: Browser,
}

impl Stage {
    async fn on_files() -> Self {
        Self::with(None, &[]).await
    }

    async fn on_servers() -> Self {
        let sandbox = Sandbox::new().await;
        let database = sandbox.database_url.clone();
        let amqp = sandbox.amqp_url.clone();
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
        stage.browser.goto(link.expect("the file should contain a link").trim()).await;
        stage.browser.sees("Welcome to My Workspace").await;
        stage.browser.click("Sign in").await;
        stage.browser.sees("All projects").await;
        stage
    }

    async fn open(&self, path: &str) {
        self.browser.goto(&format!("{}{path}", self.serve.dashboard_url().await)).await;
    }

    async fn screenshot(&self, name: &str) {
        let name = if self.sandbox.is_some() { format!("servers/{name}") } else { name.to_owned() };
        self.browser.screenshot(&screenshots().join(format!("{name}.png"))).await;
    }
}

/// The directory of screenshots: `TRAILPAD_TEST_PICTURES`, or below `target/`.
fn screenshots() -> PathBuf {
    let usual = || repository::path("target/pictures");
    std::env::var_os("TRAILPAD_TEST_PICTURES").map_or_else(usual, PathBuf::from)
}
