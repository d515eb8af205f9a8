//! The script of the pages, in a real browser.

use trailpad_tests::{post, wait_until};

use super::Stage;
use crate::{SOON, activity};

/// An activity that replaces an earlier one of the same externalId.
fn replacing(external_id: &str, title: &str) -> String {
    format!(
        r#"{{"title":"{title}","startTime":"2024-08-03T11:30:00Z","externalId":"{external_id}","metadata":{{"processing":{{"onDuplicate":"replace"}}}}}}"#
    )
}

#[tokio::test]
async fn live_updates_add_move_and_remove_rows_and_keep_focus_and_selection() {
    let stage = Stage::on_files().await;
    let browser = &stage.browser;
    let url = stage.embedded.url(&stage.serve).await;
    for (id, title) in
        [("deleted", "Will be deleted"), ("kept", "Stays as it is"), ("moves", "First version")]
    {
        assert_eq!(post(&url, &replacing(id, title)).await.status, 202);
        browser.sees(title).await;
    }
    // The link of the middle row has the focus, and its externalId is selected.
    browser
        .run(
            "window.row = document.querySelector('tbody').rows[1];
             row.querySelector('a').focus();
             getSelection().selectAllChildren(row.cells[5]);",
        )
        .await;
    assert_eq!(post(&url, &activity("new")).await.status, 202);
    browser.sees("Customer Inquiry Handled").await;
    assert_eq!(post(&url, &replacing("moves", "Second version")).await.status, 202);
    browser.sees("Second version").await;
    stage.embedded.execute("DELETE FROM activities WHERE external_id = 'deleted'");
    let titles = async || {
        browser.run("return Array.from(document.querySelector('tbody').rows, (row) => row.cells[1].textContent)").await
    };
    let wanted =
        serde_json::json!(["Second version", "Customer Inquiry Handled", "Stays as it is"]);
    wait_until("the rows are updated", SOON, titles, |seen| *seen == wanted).await;
    let kept = browser
        .run(
            "return [row === document.querySelector('tbody').rows[2],
                     document.activeElement === row.querySelector('a'), String(getSelection())]",
        )
        .await;
    assert_eq!(kept, serde_json::json!([true, true, "kept"]));
    // The focused row changes.
    assert_eq!(post(&url, &replacing("kept", "Changed")).await.status, 202);
    browser.sees("Changed").await;
    let focused = browser.run("return document.activeElement.textContent").await;
    assert_eq!(focused, "Changed");
    stage.browser.close().await;
}

#[tokio::test]
async fn a_page_without_live_updates_says_so_until_they_resume() {
    let stage = Stage::on_files().await;
    let browser = &stage.browser;
    let url = stage.embedded.url(&stage.serve).await;
    stage.embedded.execute("CREATE TABLE kept AS SELECT * FROM sessions; DELETE FROM sessions");
    browser.sees("Not up to date: reload").await;
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    stage.embedded.execute("INSERT INTO sessions SELECT * FROM kept");
    browser.sees("Customer Inquiry Handled").await;
    assert!(!browser.text().await.contains("Not up to date"));
    stage.browser.close().await;
}

#[tokio::test]
async fn hidden_tabs_use_no_connection() {
    let stage = Stage::on_files().await;
    let browser = &stage.browser;
    let url = stage.embedded.url(&stage.serve).await;
    // A browser opens at most six connections to a host; each tab has a stream.
    for _ in 0..7 {
        browser.open_tab().await;
        stage.open("/activities").await;
        browser.sees("All projects").await;
    }
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    browser.sees("Customer Inquiry Handled").await;
    browser.first_tab().await;
    browser.sees("Customer Inquiry Handled").await;
    stage.browser.close().await;
}

#[tokio::test]
async fn a_form_is_sent_once_however_often_it_is_clicked() {
    let stage = Stage::on_files().await;
    let browser = &stage.browser;
    stage.open("/settings/integrations/new").await;
    browser.choose("Project", "My Project").await;
    browser.fill("Name", "Only one").await;
    // A slow store, so that the second click hits the same page.
    stage.embedded.execute(
        "CREATE VIEW slow AS WITH RECURSIVE numbers(n) AS
             (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000000) SELECT max(n) FROM numbers;
         CREATE TRIGGER slowly BEFORE INSERT ON webhooks BEGIN SELECT * FROM slow; END",
    );
    browser.double_click("Save").await;
    browser.sees("shown this once").await;
    let sql = "SELECT count(*) FROM webhooks WHERE name = 'Only one'";
    assert_eq!(stage.embedded.number(sql), 1);

    // A page that the browser restores can be used again.
    stage.open("/settings/integrations/new").await;
    let disabled = async || browser.run("return button.disabled").await;
    browser
        .run(
            "window.button = document.querySelector('form.stack button');
             button.form.dispatchEvent(new SubmitEvent('submit', { bubbles: true }));",
        )
        .await;
    wait_until("the form is sent", SOON, disabled, |disabled| *disabled == true).await;
    browser.run("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))").await;
    assert_eq!(disabled().await, false);
    stage.browser.close().await;
}

#[tokio::test]
async fn choosing_from_a_list_sends_nothing_before_the_button_is_pressed() {
    let stage = Stage::on_files().await;
    let browser = &stage.browser;
    browser.run("window.sent = 0; addEventListener('submit', () => { sent += 1; })").await;
    browser.choose("Received in", "the last hour").await;
    assert_eq!(browser.run("return window.sent === 0").await, true);
    browser.click("Show").await;
    let query = async || browser.run("return location.search").await;
    let is_shown = |query: &serde_json::Value| query.to_string().contains("window=1h");
    wait_until("the last hour is shown", SOON, query, is_shown).await;
    stage.browser.close().await;
}
