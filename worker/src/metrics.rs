//! What a worker counts.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};
use trailpad_common::runtime::metrics as names;

/// The metrics of a worker.
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
    /// Registers every metric.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by_reason = |name: &str, help: &str| -> prometheus::Result<IntCounterVec> {
            let counters = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let measure = |name: &str, help: &str| -> prometheus::Result<Gauge> {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let queue_messages = Opts::new(
            names::QUEUE_MESSAGES,
            "Messages that wait, by queue; each worker says the same.",
        );
        let queue_messages = IntGaugeVec::new(queue_messages, &["queue"])?;
        registry.register(Box::new(queue_messages.clone()))?;
        let histogram =
            |name: &str, help: &str, buckets: Vec<f64>| -> prometheus::Result<Histogram> {
                let histogram =
                    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
                registry.register(Box::new(histogram.clone()))?;
                Ok(histogram)
            };
        Ok(Self {
            stored: counter(names::WORKER_STORED, "Activities that became rows.")?,
            replaced: counter(
                names::WORKER_REPLACED,
                "Activities that replaced the content of a row.",
            )?,
            duplicates: counter(
                names::WORKER_DUPLICATES,
                "Activities whose row was there already.",
            )?,
            retried: by_reason(
                names::WORKER_RETRIED,
                "Activities sent to a retry queue, by reason.",
            )?,
            dead_lettered: by_reason(
                names::WORKER_DEAD_LETTERED,
                "Activities sent to the dead-letter queue, by reason.",
            )?,
            archived: counter(
                names::WORKER_DEAD_LETTERS_ARCHIVED,
                "Dead letters moved from their queue into the store.",
            )?,
            batch_activities: histogram(
                names::WORKER_BATCH_ACTIVITIES,
                "Activities in one statement.",
                exponential_buckets(1.0, 2.0, 13)?,
            )?,
            store_seconds: histogram(
                names::WORKER_STORE_SECONDS,
                "One statement's time.",
                exponential_buckets(0.001, 2.0, 15)?,
            )?,
            // 5 ms to 11 h: an outage belongs into the picture.
            receipt_to_row_seconds: histogram(
                names::WORKER_RECEIPT_TO_ROW_SECONDS,
                "From an activity's receipt by the gateway to its row.",
                exponential_buckets(0.005, 3.0, 15)?,
            )?,
            in_hand: gauge(names::WORKER_IN_HAND, "Activities in hand.")?,
            holding: gauge(
                names::WORKER_HOLDING,
                "1 while the worker holds because the store is away.",
            )?,
            queue_messages,
            queue_age_seconds: measure(
                names::QUEUE_AGE_SECONDS,
                "How long what a worker takes has waited; 0 where nothing waits.",
            )?,
            dead_letters_open: gauge(
                names::DEAD_LETTERS_OPEN,
                "Dead letters that wait for somebody, counted up to 10,000; each worker says the same.",
            )?,
            queue_observed_timestamp_seconds: measure(
                names::QUEUE_OBSERVED_TIMESTAMP_SECONDS,
                "Unix time of the last look at queues and dead letters.",
            )?,
        })
    }
}
