//! Exports traces to an OpenTelemetry collector, over OTLP/HTTP.
//!
//! The collector is meant to be near: a sidecar, or one of the same host. It does the rest, TLS to
//! elsewhere included.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use trailpad_common::runtime::trace::{Span, SpanKind as Kind, Tracer};
use trailpad_common::timestamp::Timestamp;

use crate::error::Error;

/// Spans that may wait for the collector; more are dropped.
const WAITING_MAX: usize = 8_192;
const EXPORT_SPANS_MAX: usize = 512;
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// For what still waits when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What an operator says of traces.
pub struct TraceConfig {
    /// The collector: `http://host:4318`.
    pub endpoint: String,
    /// Of requests without a trace of their own, so many are sampled: 0 to 1.
    pub sample_ratio: f64,
}

/// The task that exports.
pub struct ExporterTask(Option<JoinHandle<()>>);

/// Starts to export what the tracer is given; without a configuration it is off.
///
/// # Errors
/// The endpoint is no URL.
pub fn start(config: Option<TraceConfig>, role: &str) -> Result<(Tracer, ExporterTask), Error> {
    let Some(TraceConfig { endpoint, sample_ratio }) = config else {
        return Ok((Tracer::default(), ExporterTask(None)));
    };
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(url);
    let mut exporter = exporter
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| Error::Other(format!("--otlp-endpoint: {error}")))?;
    let resource = Resource::builder().with_attributes([
        KeyValue::new("service.name", format!("trailpad-{role}")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ]);
    exporter.set_resource(&resource.build());
    let (tracer, spans) = Tracer::on(sample_ratio, WAITING_MAX);
    info!(endpoint, sample_ratio, "exporting traces");
    Ok((tracer, ExporterTask(Some(tokio::spawn(export_all(exporter, spans))))))
}

impl ExporterTask {
    /// Waits a little for what is still to be exported. Every tracer has to be dropped before.
    pub async fn flush(self) {
        if let Some(task) = self.0 {
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, task).await;
        }
    }
}

/// Ends with the last tracer. A collector that is away costs spans, and nothing else.
async fn export_all(exporter: SpanExporter, mut spans: Receiver<Span>) {
    let scope = InstrumentationScope::builder("trailpad").build();
    let (mut batch, mut is_away) = (Vec::new(), false);
    while spans.recv_many(&mut batch, EXPORT_SPANS_MAX).await > 0 {
        let ended = batch.drain(..).map(|span| span_data(span, &scope)).collect();
        match exporter.export(ended).await {
            Ok(()) => is_away = false,
            Err(error) if !is_away => {
                warn!(%error, "the collector takes no traces; they are dropped until it does");
                is_away = true;
            }
            Err(_) => {}
        }
    }
}

fn span_data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let Span { name, kind, context, parent, began, ended, attributes, error } = span;
    let flags = TraceFlags::new(context.flags);
    let (trace_id, span_id) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
    SpanData {
        span_context: SpanContext::new(trace_id, span_id, flags, false, TraceState::NONE),
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id)),
        parent_span_is_remote: parent.is_some(),
        span_kind: match kind {
            Kind::Server => SpanKind::Server,
            Kind::Consumer => SpanKind::Consumer,
        },
        name: name.into(),
        start_time: system_time(began),
        end_time: system_time(ended),
        attributes: attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    let micros = u64::try_from(at.unix_micros()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}
