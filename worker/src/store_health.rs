//! The health of the store: what the batches see, and a probe that finds out when it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};
use trailpad_common::store::Store;

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// A store that batches reach may still be unable to store, so it is probed too.
const PROBE_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct StoreHealth(Arc<watch::Sender<Health>>);

impl Default for StoreHealth {
    /// Down until the first probe.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Health::Down("not checked yet".into()))))
    }
}

impl StoreHealth {
    pub fn watch(&self) -> HealthWatch {
        self.0.subscribe()
    }

    pub async fn is_up(&self) {
        // An error means that the sender is dropped, and this holds one.
        let _ = self.watch().wait_for(|health| *health == Health::Up).await;
    }

    pub fn report_up(&self) {
        self.0.send_if_modified(|health| {
            let has_recovered = *health != Health::Up;
            if has_recovered {
                info!("store available");
                *health = Health::Up;
            }
            has_recovered
        });
    }

    pub fn report_down(&self, why: &Unavailable) {
        self.0.send_if_modified(|health| {
            let was_up = *health == Health::Up;
            if was_up {
                warn!(reason = %why, "store unavailable: nothing is taken, no attempt is counted");
            }
            let now = Health::Down(why.to_string());
            let has_changed = *health != now;
            *health = now;
            has_changed
        });
    }

    /// Probes the store until the task is aborted: at once when it becomes unavailable, then with
    /// growing pauses.
    pub async fn monitor(self, store: Arc<dyn Store>, backoff_max: Duration) {
        let mut backoff = Backoff::new(BACKOFF_FIRST, backoff_max);
        let mut health = self.watch();
        loop {
            match store.probe().await {
                Ok(()) => self.report_up(),
                Err(why) => self.report_down(&why),
            }
            if *health.borrow_and_update() == Health::Up {
                let went_down = health.wait_for(|health| *health != Health::Up);
                if tokio::time::timeout(PROBE_EVERY, went_down).await.is_err() {
                    backoff.reset();
                    continue;
                }
            }
            // A store that passes the probe and still fails is not probed without a pause.
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}
