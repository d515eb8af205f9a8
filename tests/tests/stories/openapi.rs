//! The gateway answers as its OpenAPI document describes.

use tokio::process::Command;
use trailpad_tests::{Sandbox, repository};

#[tokio::test]
async fn every_response_of_the_gateway_is_listed_in_its_openapi_document() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let script = repository::path("scripts/check-openapi");
    let mut check = Command::new(script);
    check.arg(gateway.ingress_url().await).arg(&webhook.token);
    let output = check.output().await.expect("the script should start");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    // The requests reached more than the first check.
    for kind in ["", "not-json", "invalid-activity", "invalid-token", "unsupported-media-type"] {
        let count = match kind {
            "" => gateway.metric("trailpad_gateway_accepted_total").await,
            _ => {
                gateway
                    .metric(&format!("trailpad_gateway_rejected_total{{reason=\"{kind}\"}}"))
                    .await
            }
        };
        assert!(count > 0.0, "nothing was {kind}\n{report}");
    }
}
