//! Traffic: what is counted for people to see.

use trailpad_tests::{Embedded, Sandbox, post};

use super::{SOON, activity};

const ACCEPTED: &str = "SELECT coalesce(sum(accepted), 0) FROM webhook_traffic";
const STORED: &str = "SELECT coalesce(sum(stored), 0) FROM webhook_traffic";
const REFUSED: &str = "SELECT coalesce(sum(refused), 0) FROM webhook_traffic";
const REJECTED_KEPT: &str = "SELECT count(*) FROM refused_requests";

/// Twenty are accepted and one is refused.
async fn post_some(url: &str) {
    for at in 0..20 {
        assert_eq!(post(url, &activity(&format!("a-{at}"))).await.status, 202);
    }
    assert_eq!(post(url, "{}").await.status, 422);
}

#[tokio::test]
async fn a_gateway_that_was_told_to_end_has_counted_all_that_it_answered() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (gateway, worker) = (sandbox.gateway(&[]).await, sandbox.worker(&[]).await);
    post_some(&webhook.url(&gateway).await).await;
    assert_eq!(gateway.terminate().await, Some(0));
    assert_eq!(sandbox.number(ACCEPTED).await, 20);
    assert_eq!(sandbox.number(REFUSED).await, 1);
    assert_eq!(sandbox.number(REJECTED_KEPT).await, 1);
    sandbox.wait_rows(20, SOON).await;
    assert_eq!(worker.terminate().await, Some(0));
    assert_eq!(sandbox.number(STORED).await, 20);
}

#[tokio::test]
async fn a_serve_that_was_told_to_end_has_counted_all_that_it_answered() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    post_some(&embedded.url(&serve).await).await;
    embedded.wait_number("SELECT count(*) FROM activities", 20, SOON).await;
    assert_eq!(serve.terminate().await, Some(0));
    assert_eq!(embedded.number(ACCEPTED), 20);
    assert_eq!(embedded.number(REFUSED), 1);
    assert_eq!(embedded.number(REJECTED_KEPT), 1);
    assert_eq!(embedded.number(STORED), 20);
}

/// How many of an old and a newer count are there.
const COUNTS: &str = "SELECT count(*) FROM webhook_traffic";

#[tokio::test]
async fn old_counts_of_a_webhook_that_is_quiet_are_forgotten_on_servers() {
    let sandbox = Sandbox::new().await;
    let old_and_newer = "INSERT INTO webhook_traffic
        SELECT gen_random_uuid(), now() - days * interval '1 day', 1, 1, 1, 1
        FROM unnest(ARRAY[31, 29]) AS days";
    sandbox.execute(old_and_newer).await;
    let gateway = sandbox.gateway(&[]).await;
    sandbox.wait_number(COUNTS, 1, SOON).await;
    assert_eq!(gateway.terminate().await, Some(0));
    sandbox.execute(old_and_newer).await;
    let _worker = sandbox.worker(&[]).await;
    sandbox.wait_number(COUNTS, 2, SOON).await;
}

#[tokio::test]
async fn old_counts_of_a_webhook_that_is_quiet_are_forgotten_on_files() {
    let embedded = Embedded::default();
    assert_eq!(embedded.serve(&[]).await.terminate().await, Some(0));
    embedded.execute(
        "INSERT INTO webhook_traffic
         SELECT randomblob(16), (unixepoch() - column1 * 86400) * 1000000, 1, 1, 1, 1
         FROM (VALUES (31), (29))",
    );
    let _serve = embedded.serve(&[]).await;
    embedded.wait_number(COUNTS, 1, SOON).await;
}
