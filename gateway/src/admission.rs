//! Admission control: limits the requests in flight and the bytes of their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::Metrics;

/// Counts requests and bytes in flight against their limits. Two atomics, no lock.
pub struct Admission {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    requests_max: usize,
    bytes_max: usize,
    metrics: Metrics,
}

/// The share of one request in flight. Moves along with the body; dropping it releases the share.
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    /// Allows up to `requests_max` requests, with up to `bytes_max` bytes of bodies in total.
    pub fn new(requests_max: usize, bytes_max: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            requests_max,
            bytes_max,
            metrics,
        })
    }

    /// Reserves a request in flight. Returns `None` at the limit.
    pub fn reserve(self: &Arc<Self>) -> Option<Permit> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics.in_flight.inc();
        let permit = Permit { admission: Arc::clone(self), bytes: 0 };
        (before < self.requests_max).then_some(permit)
    }
}

impl Permit {
    /// Reserves more bytes. Returns `false` past the limit; the permit then still counts them.
    #[must_use]
    pub fn reserve_bytes(&mut self, bytes: usize) -> bool {
        let before = self.admission.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.admission.metrics.in_flight_bytes.add(bytes.cast_signed() as i64);
        before.saturating_add(bytes) <= self.admission.bytes_max
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.admission.metrics.in_flight.dec();
        self.admission.metrics.in_flight_bytes.sub(self.bytes.cast_signed() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_past_a_limit_are_rejected_until_a_permit_is_dropped() {
        let metrics = Metrics::register(&prometheus::Registry::new())
            .expect("a new metrics registry should accept every metric");
        let admission = Admission::new(2, 100, metrics.clone());
        let reserve = || admission.reserve().expect("a request should be below the limit");
        let mut first = reserve();
        let second = reserve();
        assert!(admission.reserve().is_none());
        assert!(first.reserve_bytes(60));
        assert!(!first.reserve_bytes(60));
        drop(first);
        assert!(reserve().reserve_bytes(100));
        drop(second);
        assert_eq!((metrics.in_flight.get(), metrics.in_flight_bytes.get()), (0, 0));
    }
}
