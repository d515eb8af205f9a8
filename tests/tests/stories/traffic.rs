//! Traffic: the counters of webhooks and the rejected requests that the dashboard shows.

use trailpad_tests::{Embedded, Sandbox, post};

use super::{SOON, activity};

const ACCEPTED: &str = "SELECT coalesce(sum(accepted), 0) FROM webhook_traffic";
const STORED: &str = "SELECT coalesce(sum(stored), 0) FROM webhook_traffic";
const REJECTED: &str = "SELECT coalesce(sum(refused), 0) FROM webhook_traffic";
const REJECTED_KEPT: &str = "SELECT count(*) FROM refused_requests";

/// Posts twenty activities that are accepted and one that is rejected.
async fn post_some(url: &str) {
    for at in 0..20 {
        assert_eq!(post(url, &activity(&format!("a-{at}"))).await.status, 202);
    }
    assert_eq!(post(url, "{}").await.status, 422);
}

#[tokio::test]
async fn a_terminated_gateway_has_counted_every_response() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    post_some(&webhook.url(&gateway).await).await;
    assert_eq!(gateway.terminate().await, Some(0));
    assert_eq!(sandbox.number(ACCEPTED).await, 20);
    assert_eq!(sandbox.number(REJECTED).await, 1);
    assert_eq!(sandbox.number(REJECTED_KEPT).await, 1);
    sandbox.wait_rows(20, SOON).await;
    assert_eq!(worker.terminate().await, Some(0));
    assert_eq!(sandbox.number(STORED).await, 20);
}

#[tokio::test]
async fn a_terminated_serve_has_counted_every_response() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    post_some(&embedded.url(&serve).await).await;
    embedded.wait_number("SELECT count(*) FROM activities", 20, SOON).await;
    assert_eq!(serve.terminate().await, Some(0));
    assert_eq!(embedded.number(ACCEPTED), 20);
    assert_eq!(embedded.number(REJECTED), 1);
    assert_eq!(embedded.number(REJECTED_KEPT), 1);
    assert_eq!(embedded.number(STORED), 20);
}

const TRAFFIC_ROWS: &str = "SELECT count(*) FROM webhook_traffic";

#[tokio::test]
async fn old_traffic_of_an_idle_webhook_is_deleted_on_servers() {
    let sandbox = Sandbox::new().await;
    let old_and_newer = "INSERT INTO webhook_traffic
        SELECT gen_random_uuid(), now() - days * interval '1 day', 1, 1, 1, 1
        FROM unnest(ARRAY[31, 29]) AS days";
    sandbox.execute(old_and_newer).await;
    let gateway = sandbox.gateway(&[]).await;
    sandbox.wait_number(TRAFFIC_ROWS, 1, SOON).await;
    assert_eq!(gateway.terminate().await, Some(0));
    sandbox.execute(old_and_newer).await;
    let _worker = sandbox.worker(&[]).await;
    sandbox.wait_number(TRAFFIC_ROWS, 2, SOON).await;
}

#[tokio::test]
async fn old_traffic_of_an_idle_webhook_is_deleted_on_files() {
    let embedded = Embedded::default();
    assert_eq!(embedded.serve(&[]).await.terminate().await, Some(0));
    embedded.execute(
        "INSERT INTO webhook_traffic
         SELECT randomblob(16), (unixepoch() - column1 * 86400) * 1000000, 1, 1, 1, 1
         FROM (VALUES (31), (29))",
    );
    let _serve = embedded.serve(&[]).await;
    embedded.wait_number(TRAFFIC_ROWS, 1, SOON).await;
}
