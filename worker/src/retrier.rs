//! The retrier: takes the retries that are due from the store, and processes them like a batch.
//!
//! A claim is a lease. If the worker ends before the retries are settled, they are due again after
//! it; if that happens again and again, they are tried alone.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::ActivityId;
use trailpad_common::runtime::lifecycle::Phase;
use trailpad_common::store::ClaimedRetry;

use crate::batch_processor::BatchProcessor;
use crate::decode::Contents;
use crate::storer::Origin;

const CLAIMED_MAX: u32 = 500;
/// Longer than a batch takes in a store that answers.
const LEASE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After this many claims that were not settled, a retry is suspected.
const SUSPECTED_LOST_CLAIMS: u32 = 3;

pub struct Retrier {
    pub processor: Arc<BatchProcessor>,
}

impl Retrier {
    /// Runs until the worker drains.
    pub async fn run(self) {
        let BatchProcessor { lifecycle, store_health, .. } = &*self.processor;
        while !lifecycle.is_draining() {
            tokio::select! {
                () = store_health.is_up() => {}
                () = lifecycle.reached(Phase::Draining) => return,
            }
            match self.process_due().await {
                Ok(0) => {}
                Ok(retries) => {
                    debug!(retries, "processed retries that were due");
                    continue;
                }
                Err(why) => store_health.report_down(&why),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = lifecycle.reached(Phase::Draining) => return,
            }
        }
    }

    /// Returns the number of retries that were due.
    async fn process_due(&self) -> Result<usize, Unavailable> {
        let store = &self.processor.storer.store;
        let claimed = store.claim_retries(CLAIMED_MAX, LEASE).await?;
        let count = claimed.len();
        let ids: Vec<ActivityId> = claimed.iter().map(|retry| retry.id).collect();
        let processed = self.process(claimed).await;
        if processed.is_err() {
            // If this fails too, the lease ends.
            let _ = store.release_retries(&ids).await;
        }
        processed?;
        Ok(count)
    }

    async fn process(&self, claimed: Vec<ClaimedRetry>) -> Result<(), Unavailable> {
        let (suspected, usual): (Vec<_>, Vec<_>) =
            claimed.iter().partition(|retry| retry.lost_claims >= SUSPECTED_LOST_CLAIMS);
        let storer = &self.processor.storer;
        {
            let _shared = self.processor.alone.read().await;
            let envelopes = usual.iter().map(|retry| retry.envelope()).collect();
            let contents = Contents { envelopes, unreadable: Vec::new() };
            storer.store(&contents, Origin::Retries).await?;
        }
        for retry in suspected {
            let _alone = self.processor.alone.write().await;
            storer.try_activity(retry.envelope(), Origin::Retries).await?;
        }
        Ok(())
    }
}
