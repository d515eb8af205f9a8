//! Names and help texts of all metrics, and their registration.
//!
//! Alerts and the Grafana dashboard use these names; a test compares them.

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, Result,
};

pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
}

macro_rules! metrics {
    ($($CONSTANT:ident = $name:literal: $help:literal;)+) => {
        $(pub const $CONSTANT: Metric = Metric { name: $name, help: $help };)+

        pub const ALL: &[Metric] = &[$($CONSTANT,)+];
    };
}

metrics! {
    READY = "trailpad_ready": "1 if every part that the role needs works.";
    BUILD_INFO = "trailpad_build_info": "Always 1; the label is the version.";

    FILES_WAL_BYTES = "trailpad_files_wal_bytes":
        "Size of the write-ahead log of each embedded file.";

    GATEWAY_ACCEPTED = "trailpad_gateway_accepted_total": "Activities answered 202.";
    GATEWAY_REJECTED = "trailpad_gateway_rejected_total":
        "Requests answered otherwise, by reason (the type of the problem).";
    GATEWAY_CONFIRM_SECONDS = "trailpad_gateway_confirm_seconds":
        "Time from publishing a message to its confirm.";
    GATEWAY_ACCEPT_SECONDS = "trailpad_gateway_accept_seconds":
        "Time from a parsed request head to the 202.";
    GATEWAY_BATCH_ACTIVITIES = "trailpad_gateway_batch_activities": "Activities in one message.";
    GATEWAY_IN_FLIGHT = "trailpad_gateway_in_flight_requests": "Requests in flight.";
    GATEWAY_IN_FLIGHT_BYTES = "trailpad_gateway_in_flight_bytes": "Bytes of bodies in flight.";
    GATEWAY_REGISTRY_WEBHOOKS = "trailpad_gateway_registry_webhooks":
        "Webhooks in the registry, revoked ones included.";
    GATEWAY_REGISTRY_AGE_SECONDS = "trailpad_gateway_registry_age_seconds":
        "Seconds since the last successful registry refresh.";

    QUEUE_MESSAGES = "trailpad_queue_messages":
        "Waiting messages, by queue: activities, retry, dead. Every worker reports the same.";
    QUEUE_AGE_SECONDS = "trailpad_queue_age_seconds":
        "Age of the oldest waiting activity, estimated; 0 if the queue is empty.";
    QUEUE_PROBE_SECONDS = "trailpad_queue_probe_seconds":
        "Seconds that a worker has waited for a message or a probe; 0 while it has messages.";
    DEAD_LETTERS_OPEN = "trailpad_dead_letters_open":
        "Open dead letters, counted up to 10,000. Every worker reports the same.";
    QUEUE_OBSERVED_TIMESTAMP_SECONDS = "trailpad_queue_observed_timestamp_seconds":
        "Unix time of the last observation of the queues and of the open dead letters.";

    WORKER_STORED = "trailpad_worker_stored_total": "Activities stored as new rows.";
    WORKER_REPLACED = "trailpad_worker_replaced_total":
        "Activities that replaced the content of a row.";
    WORKER_DUPLICATES = "trailpad_worker_duplicates_total":
        "Activities whose row existed already.";
    WORKER_RETRIED = "trailpad_worker_retried_total":
        "Activities published to a retry queue, by reason.";
    WORKER_DEAD_LETTERED = "trailpad_worker_dead_lettered_total":
        "Activities published to the dead-letter queue, by reason.";
    WORKER_DEAD_LETTERS_ARCHIVED = "trailpad_worker_dead_letters_archived_total":
        "Dead letters moved from their queue into the store.";
    WORKER_BATCH_ACTIVITIES = "trailpad_worker_batch_activities": "Activities in one statement.";
    WORKER_STORE_SECONDS = "trailpad_worker_store_seconds":
        "Time to store a batch, bisection included.";
    WORKER_RECEIPT_TO_ROW_SECONDS = "trailpad_worker_receipt_to_row_seconds":
        "Time from the receipt of an activity by the gateway to its row.";
    WORKER_IN_HAND = "trailpad_worker_in_hand_activities":
        "Activities a worker has taken and not settled.";
    WORKER_HOLDING = "trailpad_worker_holding":
        "1 while the worker holds its messages because the store is unavailable.";
}

/// Creates and registers a metric in one step, so that every metric in use is exported.
///
/// # Errors
/// Every method fails if the name is registered already.
pub struct Registrar<'r>(pub &'r Registry);

impl Registrar<'_> {
    pub fn counter(&self, metric: &Metric) -> Result<IntCounter> {
        self.register(IntCounter::new(metric.name, metric.help)?)
    }

    pub fn counter_by(&self, metric: &Metric, label: &str) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(metric.name, metric.help), &[label])?)
    }

    pub fn gauge(&self, metric: &Metric) -> Result<IntGauge> {
        self.register(IntGauge::new(metric.name, metric.help)?)
    }

    pub fn gauge_by(&self, metric: &Metric, label: &str) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(metric.name, metric.help), &[label])?)
    }

    /// A gauge of seconds, with fractions.
    pub fn seconds(&self, metric: &Metric) -> Result<Gauge> {
        self.register(Gauge::new(metric.name, metric.help)?)
    }

    pub fn histogram(&self, metric: &Metric, buckets: Vec<f64>) -> Result<Histogram> {
        let options = HistogramOpts::new(metric.name, metric.help).buckets(buckets);
        self.register(Histogram::with_opts(options)?)
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}
