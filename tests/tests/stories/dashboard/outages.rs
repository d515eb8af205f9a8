//! The dashboard as a separate role while the broker or the database is unavailable.

use trailpad_tests::proxy::Proxy;
use trailpad_tests::{Role, Sandbox, wait_until};

use super::visitor::Visitor;
use crate::SOON;

#[tokio::test]
async fn while_the_broker_or_database_is_unavailable_each_page_says_so() {
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
    let invited = sandbox.json(&[&words[..], &["--dashboard-url", &url]].concat()).await;
    let owner =
        Visitor::by_link(invited["link"].as_str().expect("the output should contain a link")).await;
    let page = format!("/webhooks/{}", webhook.id);
    let test = format!("{page}/test");
    let sent = async || {
        let answer = owner.post(&test, "").await;
        (answer.status, answer.text())
    };
    let accepted = |(status, _): &(u16, String)| *status == 303;
    wait_until("the queue accepts an activity", SOON, sent, accepted).await;

    broker.cut();
    assert_eq!(owner.ask("GET", &page, "").await.status, 200, "pages need no broker");
    let failed = |(status, text): &(u16, String)| *status == 503 && text.contains("Try again");
    wait_until("the page reports that nothing was sent", SOON, sent, failed).await;
    broker.heal();
    wait_until("the queue accepts an activity again", SOON, sent, accepted).await;

    store.cut();
    let answer = owner.ask("GET", &page, "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("Try again in a moment"), "{}", answer.text());
    store.heal();
    assert_eq!(owner.ask("GET", &page, "").await.status, 200, "the session still exists");

    store.freeze();
    let answer = owner.ask("GET", &page, "").await;
    assert_eq!(answer.status, 503, "an unresponsive database costs no more time than a slow page");
    assert!(answer.text().contains("Try again in a moment"), "{}", answer.text());
    assert_eq!(answer.headers["x-frame-options"], "DENY", "with the headers of every page");
    store.heal();
    assert_eq!(owner.ask("GET", &page, "").await.status, 200);
    assert_eq!(dashboard.terminate().await, Some(0));
}
