//! What a gateway counts.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};
use trailpad_common::runtime::metrics as names;

/// The metrics of a gateway.
#[derive(Clone)]
pub struct Metrics {
    pub accepted: IntCounter,
    pub rejected: IntCounterVec,
    pub confirm_seconds: Histogram,
    pub accept_seconds: Histogram,
    pub batch_activities: Histogram,
    pub in_flight: IntGauge,
    pub in_flight_bytes: IntGauge,
    pub registry_webhooks: IntGauge,
    pub registry_age_seconds: prometheus::Gauge,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        // 0.5 ms to 16 s.
        let seconds = exponential_buckets(0.000_5, 2.0, 16)?;
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        let metrics = Self {
            accepted: IntCounter::new(names::GATEWAY_ACCEPTED, "Activities answered 202.")?,
            rejected: IntCounterVec::new(
                Opts::new(names::GATEWAY_REJECTED, "Requests answered otherwise, by reason."),
                &["reason"],
            )?,
            confirm_seconds: histogram(
                names::GATEWAY_CONFIRM_SECONDS,
                "From handing a message to the queue to its confirm.",
                &seconds,
            )?,
            accept_seconds: histogram(
                names::GATEWAY_ACCEPT_SECONDS,
                "From a request's head to its 202.",
                &seconds,
            )?,
            batch_activities: histogram(
                names::GATEWAY_BATCH_ACTIVITIES,
                "Activities in one message.",
                &exponential_buckets(1.0, 2.0, 13)?,
            )?,
            in_flight: IntGauge::new(names::GATEWAY_IN_FLIGHT, "Requests in flight.")?,
            in_flight_bytes: IntGauge::new(
                names::GATEWAY_IN_FLIGHT_BYTES,
                "Bytes of bodies in flight.",
            )?,
            registry_webhooks: IntGauge::new(
                names::GATEWAY_REGISTRY_WEBHOOKS,
                "Webhooks in the directory, revoked ones included.",
            )?,
            registry_age_seconds: prometheus::Gauge::new(
                names::GATEWAY_REGISTRY_AGE_SECONDS,
                "Since the directory was last known to be current.",
            )?,
        };
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.confirm_seconds.clone()))?;
        registry.register(Box::new(metrics.accept_seconds.clone()))?;
        registry.register(Box::new(metrics.batch_activities.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.in_flight_bytes.clone()))?;
        registry.register(Box::new(metrics.registry_webhooks.clone()))?;
        registry.register(Box::new(metrics.registry_age_seconds.clone()))?;
        Ok(metrics)
    }
}
