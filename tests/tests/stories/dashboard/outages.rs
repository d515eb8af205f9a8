//! The dashboard as a role of its own, and what its pages say while something is away.

use trailpad_tests::proxy::Proxy;
use trailpad_tests::{Role, Sandbox, wait_until};

use super::visitor::Visitor;
use crate::SOON;

#[tokio::test]
async fn while_broker_or_database_are_away_each_page_says_what_is_not_possible() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (broker, amqp_url) = Proxy::of_url(&sandbox.amqp_url).await;
    let (store, database_url) = Proxy::of_url(&sandbox.database_url).await;
    let behind = Sandbox { amqp_url, database_url, ..sandbox.clone() };
    let words = ["dashboard", "--dashboard-listen", "127.0.0.1:0"];
    let dashboard = Role::spawn("dashboard", behind.command(&words));
    dashboard.wait_ready().await;
    let url = dashboard.dashboard_url().await;
    let words = ["member", "invite", "--workspace", "Acme", "--email", "owner@example.com"];
    let made = sandbox.json(&[&words[..], &["--dashboard-url", &url]].concat()).await;
    let owner = Visitor::by_link(made["link"].as_str().expect("a link")).await;
    let page = format!("/webhooks/{}", webhook.id);
    let test = format!("{page}/test");
    let sent = async || {
        let answer = owner.post(&test, "").await;
        (answer.status, answer.text())
    };
    let taken = |(status, _): &(u16, String)| *status == 303;
    wait_until("the queue takes an activity", SOON, sent, taken).await;

    broker.cut();
    assert_eq!(owner.ask("GET", &page, "").await.status, 200, "pages need no broker");
    let refused = |(status, text): &(u16, String)| *status == 503 && text.contains("Try again");
    wait_until("the page says that nothing was sent", SOON, sent, refused).await;
    broker.heal();
    wait_until("the queue takes one again", SOON, sent, taken).await;

    store.cut();
    let answer = owner.ask("GET", &page, "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("Try again in a moment"), "{}", answer.text());
    store.heal();
    assert_eq!(owner.ask("GET", &page, "").await.status, 200, "the session is still there");

    store.freeze();
    let answer = owner.ask("GET", &page, "").await;
    assert_eq!(
        answer.status, 503,
        "and a person waits for a silent one no longer than for a slow page"
    );
    assert!(answer.text().contains("Try again in a moment"), "{}", answer.text());
    assert_eq!(answer.headers["x-frame-options"], "DENY", "with the headers of every page");
    store.heal();
    assert_eq!(owner.ask("GET", &page, "").await.status, 200);
    assert_eq!(dashboard.terminate().await, Some(0));
}
