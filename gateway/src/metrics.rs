//! The metrics of a gateway.

use prometheus::{
    Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, exponential_buckets,
};
use trailpad_common::runtime::metrics::{self, Registrar};

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
    pub registry_age_seconds: Gauge,
}

impl Metrics {
    /// # Errors
    /// A name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let registrar = Registrar(registry);
        // 0.5 ms to 16 s.
        let seconds = exponential_buckets(0.000_5, 2.0, 16)?;
        let activities = exponential_buckets(1.0, 2.0, 13)?;
        Ok(Self {
            accepted: registrar.counter(&metrics::GATEWAY_ACCEPTED)?,
            rejected: registrar.counter_by(&metrics::GATEWAY_REJECTED, "reason")?,
            confirm_seconds: registrar
                .histogram(&metrics::GATEWAY_CONFIRM_SECONDS, seconds.clone())?,
            accept_seconds: registrar.histogram(&metrics::GATEWAY_ACCEPT_SECONDS, seconds)?,
            batch_activities: registrar
                .histogram(&metrics::GATEWAY_BATCH_ACTIVITIES, activities)?,
            in_flight: registrar.gauge(&metrics::GATEWAY_IN_FLIGHT)?,
            in_flight_bytes: registrar.gauge(&metrics::GATEWAY_IN_FLIGHT_BYTES)?,
            registry_webhooks: registrar.gauge(&metrics::GATEWAY_REGISTRY_WEBHOOKS)?,
            registry_age_seconds: registrar.seconds(&metrics::GATEWAY_REGISTRY_AGE_SECONDS)?,
        })
    }
}
