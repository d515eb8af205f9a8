//! Observation of requests: metrics, per-webhook tallies, the log of rejected requests and traces.

use std::sync::Arc;
use std::time::Instant;

use trailpad_common::id::WebhookId;
use trailpad_common::runtime::trace::{Span, SpanKind, TraceContext, Tracer};
use trailpad_common::timestamp::Timestamp;

use crate::accepted::Accepted;
use crate::metrics::Metrics;
use crate::registry::RegisteredWebhook;
use crate::rejection::Rejection;
use crate::traffic::RejectedRequests;
use trailpad_common::webhook::INGRESS_PATH;

/// Everything that observations are recorded to.
pub struct Observer {
    pub metrics: Metrics,
    pub tracer: Tracer,
    pub rejected_requests: RejectedRequests,
}

/// Facts about one request, gathered while it is handled and recorded once with its result.
pub struct Observation<'a> {
    observer: &'a Observer,
    started_at: Instant,
    /// Set once the token is authenticated: only then is the request counted for a webhook.
    pub webhook: Option<Arc<RegisteredWebhook>>,
    pub span: RequestSpan<'a>,
}

impl Observer {
    pub fn begin(&self) -> Observation<'_> {
        Observation {
            observer: self,
            started_at: Instant::now(),
            webhook: None,
            span: RequestSpan { tracer: &self.tracer, started: None },
        }
    }
}

impl Observation<'_> {
    pub fn finish(self, result: &Result<Accepted, Rejection>) {
        if let Some(webhook) = &self.webhook {
            self.span.record(webhook.webhook_id, result);
            match result {
                Ok(_) => webhook.tally.count_accepted(),
                Err(rejection) => self.observer.rejected_requests.record(webhook, rejection),
            }
        }
        let metrics = &self.observer.metrics;
        match result {
            Ok(_) => {
                metrics.accepted.inc();
                metrics.accept_seconds.observe(self.started_at.elapsed().as_secs_f64());
            }
            Err(rejection) => metrics.rejected.with_label_values(&[rejection.reason()]).inc(),
        }
    }
}

/// The server span of a request. Recorded only if the request is sampled.
pub struct RequestSpan<'a> {
    tracer: &'a Tracer,
    started: Option<StartedSpan>,
}

struct StartedSpan {
    context: TraceContext,
    parent: Option<TraceContext>,
    began: Timestamp,
}

impl RequestSpan<'_> {
    /// Starts the span if the request is sampled. Returns the context that the activity carries
    /// on: the span's, or without a span the sender's.
    pub fn start(&mut self, parent: Option<TraceContext>) -> Option<TraceContext> {
        let Some(context) = self.tracer.begin(parent) else { return parent };
        self.started = Some(StartedSpan { context, parent, began: Timestamp::now() });
        Some(context)
    }

    /// Attribute names follow OpenTelemetry's semantic conventions where they define one.
    fn record(self, webhook_id: WebhookId, result: &Result<Accepted, Rejection>) {
        let Some(StartedSpan { context, parent, began }) = self.started else { return };
        let mut attributes = vec![
            ("http.request.method", "POST".to_owned()),
            ("http.route", format!("{INGRESS_PATH}{{token}}")),
            ("trailpad.webhook.id", webhook_id.to_string()),
        ];
        let error = match result {
            Ok(accepted) => {
                attributes.push(("trailpad.activity.id", accepted.id.to_string()));
                None
            }
            Err(rejection) => Some(rejection.reason()),
        };
        self.tracer.record(Span {
            name: "accept activity",
            kind: SpanKind::Server,
            context,
            parent,
            began,
            ended: Timestamp::now(),
            attributes,
            error,
        });
    }
}
