//! Publishes held messages again, unchanged and confirmed, and acknowledges the originals. Unlike a
//! requeue, this does not count as a delivery that was not settled.

use std::time::Duration;

use tracing::warn;
use trailpad_common::queue::{Delivery, Destination, Publisher};
use trailpad_common::runtime::backoff::Backoff;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// Removes each message from `deliveries` once it is confirmed. Can be cancelled: what is left was
/// not acknowledged, and a message that was published anyway is stored once.
pub async fn republish(
    publisher: &mut dyn Publisher,
    to: Destination,
    deliveries: &mut Vec<Delivery>,
) {
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MOST);
    while let Some(delivery) = deliveries.last() {
        match publisher.publish(to, delivery.kind, &delivery.body).await {
            Ok(()) => {
                if let Some(delivery) = deliveries.pop() {
                    delivery.ack().await;
                }
            }
            Err(error) => {
                warn!(%error, "publish failed; retrying");
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}
