//! The gateway answers as its OpenAPI document says.

use std::path::Path;

use tokio::process::Command;
use trailpad_tests::Sandbox;

#[tokio::test]
async fn whatever_is_sent_the_gateway_answers_as_its_document_lists() {
    let sandbox = Sandbox::new().await;
    let (webhook, gateway) = (sandbox.seed().await, sandbox.gateway(&[]).await);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/check-openapi");
    let mut check = Command::new(script);
    check.arg(gateway.ingress_url().await).arg(&webhook.token);
    let output = check.output().await.expect("the script");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    // It was not refused at the door only.
    for kind in ["", "not-json", "invalid-activity", "invalid-token", "unsupported-media-type"] {
        let count = match kind {
            "" => gateway.metric("trailpad_gateway_accepted_total").await,
            _ => {
                gateway
                    .metric(&format!("trailpad_gateway_rejected_total{{reason=\"{kind}\"}}"))
                    .await
            }
        };
        assert!(count > 0.0, "nothing was {kind}\n{told}");
    }
}
