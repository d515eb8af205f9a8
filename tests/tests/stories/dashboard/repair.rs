//! What did not arrive, seen and mended on the pages.

use trailpad_tests::post;

use super::Stage;

const UNKNOWN: &str = r#"{"title":"For Jane","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane+crm@example.com","externalId":"jane-1"}"#;

#[tokio::test]
async fn a_dead_letter_is_replayed_from_the_page_once_its_member_is_there_on_files() {
    repair(Stage::on_files().await).await;
}

#[tokio::test]
async fn a_dead_letter_is_replayed_from_the_page_once_its_member_is_there_on_servers() {
    repair(Stage::on_servers().await).await;
}

async fn repair(stage: Stage) {
    let (browser, url) = (&stage.browser, stage.embedded.url(&stage.serve).await);
    assert_eq!(post(&url, UNKNOWN).await.status, 202);
    browser
        .reload_until("/dead-letters", "jane+crm@example.com", &stage.serve.dashboard_url().await)
        .await;
    stage.picture("dead-letters").await;

    stage.open("/settings/members").await;
    browser.fill("E-mail address", "jane+crm@example.com").await;
    browser.click("Invite").await;
    browser.sees("1 dead letter waits for this address").await;
    stage.picture("members").await;
    browser.click("Look at them and replay them").await;
    browser.tick("Select all of this page").await;
    browser.click("Replay selected").await;
    browser.sees("1 dead letter was replayed").await;
    stage.open("/activities").await;
    browser.sees("For Jane").await;
    stage.open("/dead-letters").await;
    browser.sees("There are no dead letters").await;
    stage.browser.close().await;
}

#[tokio::test]
async fn a_refused_request_shows_with_pointer_and_reason_and_its_token_nowhere_on_files() {
    refused(Stage::on_files().await).await;
}

#[tokio::test]
async fn a_refused_request_shows_with_pointer_and_reason_and_its_token_nowhere_on_servers() {
    refused(Stage::on_servers().await).await;
}

async fn refused(stage: Stage) {
    let (browser, url) = (&stage.browser, stage.embedded.url(&stage.serve).await);
    let sent =
        r#"{"title":"SECRET-TITLE","startTime":"yesterday","metadata":{"key":"SECRET-VALUE"}}"#;
    assert_eq!(post(&url, sent).await.status, 422);
    assert_eq!(post(&url, "{\"title\": SECRET").await.status, 400);
    stage.open("/settings/integrations").await;
    browser.click("My First Webhook").await;
    let path = browser.path().await;
    browser.reload_until(&path, "invalid-activity", &stage.serve.dashboard_url().await).await;
    for text in ["/startTime", "ISO 8601", "not-json", "line 1, column"] {
        browser.sees(text).await;
    }
    stage.picture("refused").await;
    let token = url.rsplit('/').next().expect("a token");
    let secret = &token.rsplit('_').next().expect("a secret")[..16];
    let page = browser.source().await;
    let kept = match &stage.sandbox {
        Some(sandbox) => sandbox.texts("SELECT problem FROM refused_requests").await,
        None => stage.embedded.texts("SELECT problem FROM refused_requests"),
    };
    assert_eq!(kept.len(), 2);
    for (place, text) in
        [("page", page), ("store", kept.join("\n")), ("log", stage.serve.log_text())]
    {
        for hidden in [secret, "SECRET-TITLE", "SECRET-VALUE"] {
            assert!(!text.contains(hidden), "{hidden} is in the {place}: {text}");
        }
    }
    stage.browser.close().await;
}
