//! How every page looks: pictures in both themes and widths, and nothing that axe-core minds.

use trailpad_tests::post;

use super::Stage;
use crate::SOON;

const UNKNOWN: &str = r#"{"title":"Invoice sent","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane@example.com","event":"Billing"}"#;

#[tokio::test]
async fn no_page_has_a_violation_in_either_theme_or_width() {
    let stage = Stage::on_files().await;
    let (browser, url) = (&stage.browser, stage.embedded.url(&stage.serve).await);
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
        uuid::Uuid::parse_str(&hex).expect("an id").to_string()
    };
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
    ];
    let mut violations = Vec::new();
    for (theme, dark) in [("light", false), ("dark", true)] {
        for (size, width, height) in [("wide", 1_280, 900), ("phone", 390, 844)] {
            browser.look(width, height, dark).await;
            for (name, path) in &pages {
                stage.open(path).await;
                stage.picture(&format!("{theme}-{size}/{name}")).await;
                let scrolls =
                    browser.run("return document.documentElement.scrollWidth > innerWidth").await;
                if scrolls == true {
                    violations.push(format!("{theme} {size} {name}: scrolls sideways"));
                }
                let found = browser.axe().await;
                violations.extend(found.iter().map(|v| format!("{theme} {size} {name}: {v}")));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    stage.browser.close().await;
}
