//! Per-webhook counters of requests, collected once a second for the dashboard.

use std::sync::atomic::{AtomicU32, Ordering};

use trailpad_common::traffic::Counts;

/// One webhook's counters since the last flush.
#[derive(Default)]
pub struct Tally {
    accepted: AtomicU32,
    rejected: AtomicU32,
}

impl Tally {
    /// Counts a 202 response.
    pub fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a rejection. Returns the number of rejections counted before it since the last flush.
    pub fn count_rejected(&self) -> u32 {
        self.rejected.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the counters and resets them to zero.
    pub fn flush(&self) -> Counts {
        let accepted = take(&self.accepted);
        let rejected = take(&self.rejected);
        Counts { accepted, refused: rejected, ..Counts::default() }
    }
}

/// Most counters are zero. A plain load does not move the cache line away from the core that
/// counts.
fn take(counter: &AtomicU32) -> u32 {
    match counter.load(Ordering::Relaxed) {
        0 => 0,
        _ => counter.swap(0, Ordering::Relaxed),
    }
}
