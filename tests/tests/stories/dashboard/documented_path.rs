//! The setup of a webhook, click by click as the documentation describes it.

use std::process::Command;

use trailpad_tests::{post, wait_until};

use super::Stage;
use crate::{SOON, activity};

on_files_and_servers! {
    Stage:
    a_webhook_is_created_used_rotated_and_revoked_as_documented,
}

async fn a_webhook_is_created_used_rotated_and_revoked_as_documented(stage: Stage) {
    let browser = &stage.browser;
    browser.click("Workspace Settings").await;
    browser.click("Integrations").await;
    browser.sees("Custom Webhooks").await;
    browser.click("Create New Webhook").await;
    browser.choose("Project", "My Project").await;
    browser.fill("Name", "My Custom CRM").await;
    stage.screenshot("create-webhook").await;
    browser.click("Save").await;
    browser.sees("shown this once").await;
    let url = browser.text_of("url").await;
    let curl = browser.text_of("curl").await;
    stage.screenshot("webhook-url").await;

    browser.click("See what arrives").await;
    browser.sees("No activity yet").await;
    assert!(!browser.source().await.contains(&url), "the URL is shown once");
    let sent = Command::new("bash").args(["-c", &format!("{curl} --silent --fail")]).output();
    let sent = sent.expect("curl should start");
    assert!(sent.status.success(), "{curl}: {}", String::from_utf8_lossy(&sent.stdout));
    // The page is updated without a reload.
    browser.run("window.isTheSamePage = true").await;
    browser.sees("Customer Inquiry Handled").await;
    assert_eq!(browser.run("return window.isTheSamePage === true").await, true);

    browser.click("Send test activity").await;
    browser.sees("The test activity is stored").await;
    stage.screenshot("webhook").await;

    browser.choose("Rotate the token", "not at all").await;
    browser.click("Rotate").await;
    browser.sees("has a new URL").await;
    let new_url = browser.text_of("url").await;
    assert_ne!(new_url, url);
    let answers = |url: String| async move { post(&url, &activity("b")).await.status };
    let old = async || answers(url.clone()).await;
    wait_until("the old token is rejected", SOON, old, |status| *status == 401).await;
    assert_eq!(answers(new_url.clone()).await, 202);

    browser.click("See what arrives").await;
    browser.click("Revoke this webhook").await;
    browser.click("Revoke for ever").await;
    browser.sees("it takes no more activities").await;
    let revoked = async || answers(new_url.clone()).await;
    wait_until("the webhook is revoked", SOON, revoked, |status| *status == 410).await;
    stage.browser.close().await;
}
