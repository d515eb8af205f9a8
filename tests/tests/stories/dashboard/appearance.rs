//! Every page in both themes and widths: screenshots, and no violation that axe-core finds.

use trailpad_tests::post;

use super::Stage;
use crate::SOON;

const UNKNOWN: &str = r#"{"title":"Invoice sent","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane@example.com","event":"Billing"}"#;

#[tokio::test]
async fn no_page_has_an_accessibility_violation_in_any_theme_or_width() {
    let stage = Stage::on_files().await;
    let browser = &stage.browser;
    let url = stage.embedded.url(&stage.serve).await;
    for (n, title) in
        ["Customer Inquiry Handled", "Order shipped", "Refund approved", "Contract signed"]
            .iter()
            .enumerate()
    {
        let body = format!(
            r#"{{"title":"{title}","startTime":"2024-08-03T1{n}:30:00Z","event":"Call Center Log","externalId":"call-log-{n}","metadata":{{"caller":"Jane Doe","minutes":{n},"tags":["billing","urgent"]}}}}"#
        );
        assert_eq!(post(&url, &body).await.status, 202);
    }
    assert_eq!(post(&url, UNKNOWN).await.status, 202);
    assert_eq!(post(&url, r#"{"titel":"T"}"#).await.status, 422);
    stage.embedded.wait_number("SELECT count(*) FROM activities", 4, SOON).await;
    stage.embedded.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    stage.embedded.wait_number("SELECT count(*) FROM refused_requests", 1, SOON).await;
    stage.embedded.wait_number("SELECT sum(stored) FROM webhook_traffic", 4, SOON).await;
    let link = |table: &str| {
        let hex =
            stage.embedded.texts(&format!("SELECT lower(hex(id)) FROM {table} LIMIT 1")).remove(0);
        uuid::Uuid::parse_str(&hex).expect("the id should be a UUID").to_string()
    };
    let words = ["member", "invite", "--workspace", "My Workspace", "--email", "owner@example.com"];
    let invitation = stage.embedded.json(&[&words[..], &["--dashboard-url", ""]].concat()).await;
    let pages = [
        ("activities", "/activities".to_owned()),
        ("activity", format!("/activities/{}", link("activities"))),
        ("webhook", format!("/webhooks/{}", link("webhooks"))),
        ("integrations", "/settings/integrations".to_owned()),
        ("new-webhook", "/settings/integrations/new".to_owned()),
        ("members", "/settings/members".to_owned()),
        ("projects", "/settings/projects".to_owned()),
        ("general", "/settings".to_owned()),
        ("dead-letters", "/dead-letters".to_owned()),
        ("dead-letter", format!("/dead-letters/{}", link("dead_letters"))),
        ("account", "/account".to_owned()),
        ("nothing", "/nothing".to_owned()),
        ("sign-in", "/sign-in".to_owned()),
        (
            "invitation",
            invitation["link"].as_str().expect("the output should contain a link").to_owned(),
        ),
        ("used-up", "/invite/x".to_owned()),
        ("no-activity", "/activities?q=nothing".to_owned()),
        ("no-dead-letter", "/dead-letters?member=nobody@example.com".to_owned()),
    ];
    let mut violations = Vec::new();
    for (theme, dark) in [("light", false), ("dark", true)] {
        for (size, width, height) in [("wide", 1_280, 900), ("phone", 390, 844)] {
            browser.set_appearance(width, height, dark).await;
            let appearance = format!("{theme}-{size}");
            for (name, path) in &pages {
                stage.open(path).await;
                violations.extend(violations_of(&stage, &appearance, name).await);
            }
            // Pages that are shown once, in response to a form.
            stage.open("/settings/integrations/new").await;
            browser.fill("Name", "My Custom CRM").await;
            browser.click("Save").await;
            browser.sees("shown this once").await;
            violations.extend(violations_of(&stage, &appearance, "webhook-url").await);
            stage.open("/settings/members").await;
            browser.fill("E-mail address", "jane@example.com").await;
            browser.click("Invite").await;
            browser.sees("Send this link").await;
            violations.extend(violations_of(&stage, &appearance, "invited").await);
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    stage.browser.close().await;
}

/// Takes a screenshot of the open page and returns its violations. axe-core runs in two of the four
/// appearances: each theme once, and each width once.
async fn violations_of(stage: &Stage, appearance: &str, name: &str) -> Vec<String> {
    stage.screenshot(&format!("{appearance}/{name}")).await;
    let is_audited = matches!(appearance, "light-wide" | "dark-phone");
    let mut violations = if is_audited { stage.browser.axe().await } else { Vec::new() };
    let wide = stage.browser.run("return document.documentElement.scrollWidth > innerWidth").await;
    if wide == true {
        violations.push("scrolls sideways".into());
    }
    violations.iter().map(|violation| format!("{appearance} {name}: {violation}")).collect()
}
