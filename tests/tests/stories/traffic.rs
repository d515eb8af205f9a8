//! Traffic: what is counted for people to see.

use trailpad_tests::{Embedded, Sandbox, post};

use super::{SOON, activity};

const ACCEPTED: &str = "SELECT coalesce(sum(accepted), 0) FROM webhook_traffic";
const STORED: &str = "SELECT coalesce(sum(stored), 0) FROM webhook_traffic";
const REFUSED: &str = "SELECT coalesce(sum(refused), 0) FROM webhook_traffic";
const REFUSED_KEPT: &str = "SELECT count(*) FROM refused_requests";

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
    assert_eq!(sandbox.number(REFUSED_KEPT).await, 1);
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
    assert_eq!(embedded.number(REFUSED_KEPT), 1);
    assert_eq!(embedded.number(STORED), 20);
}
