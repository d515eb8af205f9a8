//! The metrics of a worker.

use prometheus::{
    Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    exponential_buckets,
};
use trailpad_common::runtime::metrics::{self, Registrar};

#[derive(Clone)]
pub struct Metrics {
    pub stored: IntCounter,
    pub replaced: IntCounter,
    pub duplicates: IntCounter,
    pub retried: IntCounterVec,
    pub dead_lettered: IntCounterVec,
    pub archived: IntCounter,
    pub batch_activities: Histogram,
    pub store_seconds: Histogram,
    pub receipt_to_row_seconds: Histogram,
    pub in_hand: IntGauge,
    pub holding: IntGauge,
    pub queue_messages: IntGaugeVec,
    pub queue_age_seconds: Gauge,
    pub dead_letters_open: IntGauge,
    pub queue_observed_timestamp_seconds: Gauge,
}

impl Metrics {
    /// # Errors
    /// A name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let registrar = Registrar(registry);
        let activities = exponential_buckets(1.0, 2.0, 13)?;
        // 1 ms to 16 s.
        let store_seconds = exponential_buckets(0.001, 2.0, 15)?;
        // 5 ms to 6.6 h, so that an outage still fits the histogram.
        let receipt_to_row_seconds = exponential_buckets(0.005, 3.0, 15)?;
        Ok(Self {
            stored: registrar.counter(&metrics::WORKER_STORED)?,
            replaced: registrar.counter(&metrics::WORKER_REPLACED)?,
            duplicates: registrar.counter(&metrics::WORKER_DUPLICATES)?,
            retried: registrar.counter_by(&metrics::WORKER_RETRIED, "reason")?,
            dead_lettered: registrar.counter_by(&metrics::WORKER_DEAD_LETTERED, "reason")?,
            archived: registrar.counter(&metrics::WORKER_DEAD_LETTERS_ARCHIVED)?,
            batch_activities: registrar.histogram(&metrics::WORKER_BATCH_ACTIVITIES, activities)?,
            store_seconds: registrar.histogram(&metrics::WORKER_STORE_SECONDS, store_seconds)?,
            receipt_to_row_seconds: registrar
                .histogram(&metrics::WORKER_RECEIPT_TO_ROW_SECONDS, receipt_to_row_seconds)?,
            in_hand: registrar.gauge(&metrics::WORKER_IN_HAND)?,
            holding: registrar.gauge(&metrics::WORKER_HOLDING)?,
            queue_messages: registrar.gauge_by(&metrics::QUEUE_MESSAGES, "queue")?,
            queue_age_seconds: registrar.seconds(&metrics::QUEUE_AGE_SECONDS)?,
            dead_letters_open: registrar.gauge(&metrics::DEAD_LETTERS_OPEN)?,
            queue_observed_timestamp_seconds: registrar
                .seconds(&metrics::QUEUE_OBSERVED_TIMESTAMP_SECONDS)?,
        })
    }
}
