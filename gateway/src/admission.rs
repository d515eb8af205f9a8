//! Admission: how much may be in flight at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::Metrics;

/// Counts requests and bytes in flight against their bounds. Two atomics, no lock.
pub struct Admission {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    requests_max: usize,
    bytes_max: usize,
    metrics: Metrics,
}

/// A place among the requests in flight; it goes where the body goes and ends with it.
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    /// Admits up to `requests_max` requests whose bodies have up to `bytes_max` bytes together.
    pub fn new(requests_max: usize, bytes_max: usize, metrics: Metrics) -> Arc<Self> {
        let (requests, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { requests, bytes, requests_max, bytes_max, metrics })
    }

    /// A place, unless all are taken.
    pub fn admit(self: &Arc<Self>) -> Option<Permit> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics.in_flight.inc();
        let permit = Permit { admission: Arc::clone(self), bytes: 0 };
        (before < self.requests_max).then_some(permit)
    }
}

impl Permit {
    /// Takes room for more bytes, unless there is none.
    #[must_use]
    pub fn reserve(&mut self, bytes: usize) -> bool {
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
    fn a_place_is_refused_past_the_bound_and_free_again_after_the_request() {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("fresh registry");
        let admission = Admission::new(2, 100, metrics.clone());
        let (mut first, second) =
            (admission.admit().expect("place"), admission.admit().expect("place"));
        assert!(admission.admit().is_none());
        assert!(first.reserve(60));
        assert!(!first.reserve(60));
        drop(first);
        assert!(admission.admit().expect("place").reserve(100));
        drop(second);
        assert_eq!((metrics.in_flight.get(), metrics.in_flight_bytes.get()), (0, 0));
    }
}
