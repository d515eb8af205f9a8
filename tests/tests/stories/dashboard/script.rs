//! What the pages' script adds, in a real browser.

use trailpad_tests::{post, wait_until};

use super::Stage;
use crate::{SOON, activity};

/// An activity whose later copies replace it.
fn replacing(external_id: &str, title: &str) -> String {
    format!(
        r#"{{"title":"{title}","startTime":"2024-08-03T11:30:00Z","externalId":"{external_id}","metadata":{{"processing":{{"onDuplicate":"replace"}}}}}}"#
    )
}

#[tokio::test]
async fn rows_come_move_and_go_and_what_a_person_is_at_stays() {
    let stage = Stage::on_files().await;
    let (browser, url) = (&stage.browser, stage.embedded.url(&stage.serve).await);
    for (id, title) in [("gone", "Will go"), ("kept", "Stays as it is"), ("moves", "First version")]
    {
        assert_eq!(post(&url, &replacing(id, title)).await.status, 202);
        browser.sees(title).await;
    }
    // The middle one is at hand: its link has the focus, and its externalId is selected.
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
    stage.embedded.execute("DELETE FROM activities WHERE external_id = 'gone'");
    let titles = async || {
        browser.run("return Array.from(document.querySelector('tbody').rows, (row) => row.cells[1].textContent)").await
    };
    let wanted =
        serde_json::json!(["Second version", "Customer Inquiry Handled", "Stays as it is"]);
    wait_until("the rows", SOON, titles, |seen| *seen == wanted).await;
    let kept = browser
        .run(
            "return [row === document.querySelector('tbody').rows[2],
                     document.activeElement === row.querySelector('a'), String(getSelection())]",
        )
        .await;
    assert_eq!(kept, serde_json::json!([true, true, "kept"]));
    // The one that is at hand changes itself.
    assert_eq!(post(&url, &replacing("kept", "Changed")).await.status, 202);
    browser.sees("Changed").await;
    let focused = browser.run("return document.activeElement.textContent").await;
    assert_eq!(focused, "Changed");
    stage.browser.close().await;
}

#[tokio::test]
async fn a_page_that_is_not_kept_up_to_date_says_so_until_it_is_again() {
    let stage = Stage::on_files().await;
    let (browser, url) = (&stage.browser, stage.embedded.url(&stage.serve).await);
    stage.embedded.execute("CREATE TABLE kept AS SELECT * FROM sessions; DELETE FROM sessions");
    browser.sees("Not up to date: reload").await;
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    stage.embedded.execute("INSERT INTO sessions SELECT * FROM kept");
    browser.sees("Customer Inquiry Handled").await;
    assert!(!browser.text().await.contains("Not up to date"));
    stage.browser.close().await;
}

#[tokio::test]
async fn tabs_that_nobody_looks_at_take_no_connection() {
    let stage = Stage::on_files().await;
    let (browser, url) = (&stage.browser, stage.embedded.url(&stage.serve).await);
    // One more than a browser's six connections of a host, each with its stream.
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
    // A store that takes its time, so that the second click meets the same page.
    stage.embedded.execute(
        "CREATE VIEW slow AS WITH RECURSIVE numbers(n) AS
             (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000000) SELECT max(n) FROM numbers;
         CREATE TRIGGER slowly BEFORE INSERT ON webhooks BEGIN SELECT * FROM slow; END",
    );
    browser.double_click("Save").await;
    browser.sees("shown this once").await;
    let sql = "SELECT count(*) FROM webhooks WHERE name = 'Only one'";
    assert_eq!(stage.embedded.number(sql), 1);

    // A page that comes back as it was left can be used again.
    stage.open("/settings/integrations/new").await;
    let disabled = async || browser.run("return button.disabled").await;
    browser
        .run(
            "window.button = document.querySelector('form.stack button');
             button.form.dispatchEvent(new SubmitEvent('submit', { bubbles: true }));",
        )
        .await;
    wait_until("sent", SOON, disabled, |disabled| *disabled == true).await;
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
