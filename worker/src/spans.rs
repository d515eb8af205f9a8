//! The spans of a batch: one for each activity whose trace is followed.

use trailpad_common::failure::Failure;
use trailpad_common::id::ActivityId;
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::runtime::trace::{Span, SpanKind, TraceContext, Tracer};
use trailpad_common::timestamp::Timestamp;

use crate::decode::Item;

/// Spans from the taking of a batch to its rows; empty where nobody follows traces.
pub struct StoreSpans {
    began: Timestamp,
    open: Vec<Open>,
}

struct Open {
    context: TraceContext,
    parent: TraceContext,
    activity: ActivityId,
    attempt: u32,
}

impl StoreSpans {
    /// Begins a span for each activity whose trace is sampled.
    pub fn begin(tracer: &Tracer, items: &[Item<'_>]) -> Self {
        let open = items.iter().filter_map(|item| {
            let Envelope { id, attempt, traceparent, .. } = item.envelope;
            let parent = traceparent?;
            let context = tracer.begin(Some(parent))?;
            Some(Open { context, parent, activity: id, attempt })
        });
        Self { began: Timestamp::now(), open: open.collect() }
    }

    /// Records them, once each activity is stored or has failed by itself.
    pub fn end(self, tracer: &Tracer, failed: &[(Envelope<'_>, Failure)]) {
        let ended = Timestamp::now();
        for Open { context, parent, activity, attempt } in self.open {
            // Why stands in the log, beside this trace.
            let has_failed = failed.iter().any(|(envelope, _)| envelope.id == activity);
            tracer.record(Span {
                name: "store activity",
                kind: SpanKind::Consumer,
                context,
                parent: Some(parent),
                began: self.began,
                ended,
                attributes: vec![
                    ("trailpad.activity.id", activity.to_string()),
                    ("trailpad.attempt", attempt.to_string()),
                ],
                error: has_failed.then_some("not-stored"),
            });
        }
    }
}
