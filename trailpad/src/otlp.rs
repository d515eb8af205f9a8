//! Exports traces to an OpenTelemetry collector, over OTLP/HTTP.
//!
//! The collector should be nearby: a sidecar, or on the same host. It forwards the traces to other
//! hosts, over TLS.

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

/// Spans that wait for the collector; further spans are dropped.
const WAITING_MAX: usize = 8_192;
const EXPORT_SPANS_MAX: usize = 512;
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// For spans that still wait when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

pub struct TraceConfig {
    /// The collector: `http://host:4318`.
    pub endpoint: String,
    /// Share of requests without a trace context that are sampled, from 0 to 1.
    pub sample_ratio: f64,
}

pub struct ExporterTask(Option<JoinHandle<()>>);

/// Starts an exporter for the spans of the tracer. Without a configuration the tracer is off.
///
/// # Errors
/// The endpoint is not a valid URL.
pub fn start(config: Option<TraceConfig>, role: &str) -> Result<(Tracer, ExporterTask), Error> {
    let Some(TraceConfig { endpoint, sample_ratio }) = config else {
        return Ok((Tracer::default(), ExporterTask(None)));
    };
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(url);
    let mut exporter = exporter
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::OtlpEndpoint { endpoint: endpoint.clone(), source })?;
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
    /// Waits up to `FLUSH_TIMEOUT` for the remaining spans. Every tracer must be dropped before.
    pub async fn flush(self) {
        if let Some(task) = self.0 {
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, task).await;
        }
    }
}

/// Ends when the last tracer is dropped. While the collector is unavailable, spans are dropped.
async fn export_all(exporter: SpanExporter, mut spans: Receiver<Span>) {
    let scope = InstrumentationScope::builder("trailpad").build();
    let mut batch = Vec::new();
    let mut is_unavailable = false;
    while spans.recv_many(&mut batch, EXPORT_SPANS_MAX).await > 0 {
        let ended = batch.drain(..).map(|span| span_data(span, &scope)).collect();
        match exporter.export(ended).await {
            Ok(()) => is_unavailable = false,
            Err(error) if !is_unavailable => {
                warn!(%error, "the collector takes no traces; they are dropped until it does");
                is_unavailable = true;
            }
            Err(_) => {}
        }
    }
}

fn span_data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let Span { name, kind, context, parent, began, ended, attributes, error } = span;
    let flags = TraceFlags::new(context.flags);
    let trace_id = TraceId::from(context.trace_id);
    let span_id = SpanId::from(context.span_id);
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
