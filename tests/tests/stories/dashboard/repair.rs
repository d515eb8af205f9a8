//! Dead letters and rejected requests on the pages, and their repair.

use trailpad_tests::{Embedded, post};

use super::Stage;
use super::visitor::Visitor;
use crate::SOON;

const UNKNOWN: &str = r#"{"title":"For Jane","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane+crm@example.com","externalId":"jane-1"}"#;

on_files_and_servers! {
    Stage:
    a_dead_letter_is_replayed_on_the_page_after_its_member_is_added,
    a_rejected_request_is_shown_with_pointer_and_reason_and_without_its_token,
}

async fn a_dead_letter_is_replayed_on_the_page_after_its_member_is_added(stage: Stage) {
    let browser = &stage.browser;
    let url = stage.embedded.url(&stage.serve).await;
    assert_eq!(post(&url, UNKNOWN).await.status, 202);
    browser
        .reload_until("/dead-letters", "jane+crm@example.com", &stage.serve.dashboard_url().await)
        .await;
    stage.screenshot("dead-letters").await;

    stage.open("/settings/members").await;
    browser.fill("E-mail address", "jane+crm@example.com").await;
    browser.click("Invite").await;
    browser.sees("1 dead letter waits for this address").await;
    stage.screenshot("members").await;
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
async fn dead_letters_newer_than_the_page_are_not_discarded_with_all_matching_ones() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
    let link = std::fs::read_to_string(embedded.path().join("first-sign-in-url"))
        .expect("the file should contain a link");
    let owner = Visitor::by_link(link.trim()).await;
    let url = embedded.url(&serve).await;
    let fail = async |count: i64| {
        assert_eq!(post(&url, &UNKNOWN.replace("jane-1", &count.to_string())).await.status, 202);
        embedded.wait_number("SELECT count(*) FROM dead_letters", count, SOON).await;
    };
    fail(1).await;
    fail(2).await;
    let page = owner.ask("GET", "/dead-letters", "").await.text();
    let seen = page.split("name=\"seen\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    fail(3).await;
    let form = format!(
        "do=discard-all&query=&seen={}",
        seen.expect("the page should contain a timestamp")
    );
    let answer = owner.post("/dead-letters", &form).await;
    assert_eq!(answer.headers["location"], "/dead-letters?done=discarded.2.0");
    let open = "SELECT external_id FROM dead_letters WHERE discarded_at IS NULL";
    assert_eq!(embedded.texts(open), ["3"], "it is newer than the page");
}

async fn a_rejected_request_is_shown_with_pointer_and_reason_and_without_its_token(stage: Stage) {
    let browser = &stage.browser;
    let url = stage.embedded.url(&stage.serve).await;
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
    stage.screenshot("rejected").await;
    let token = url.rsplit('/').next().expect("the URL should contain a token");
    let secret = &token.rsplit('_').next().expect("the token should contain a secret")[..16];
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
