//! The bound of the waiting retries: what waits is read from the store every few seconds, and
//! counted on in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use trailpad_common::failure::Unavailable;
use trailpad_common::store::{RetryUsage, Store};

const READ_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
pub struct RetryRoom(Arc<Mutex<Option<(Instant, RetryUsage)>>>);

impl RetryRoom {
    /// The current usage. It is exclusive while the guard is held.
    pub async fn usage(
        &self,
        store: &dyn Store,
    ) -> Result<MappedMutexGuard<'_, RetryUsage>, Unavailable> {
        let mut cached = self.0.lock().await;
        if cached.as_ref().is_none_or(|(read, _)| read.elapsed() > READ_EVERY) {
            *cached = Some((Instant::now(), store.retry_usage().await?));
        }
        Ok(MutexGuard::map(cached, |cached| {
            &mut cached.get_or_insert_with(|| (Instant::now(), RetryUsage::default())).1
        }))
    }
}
