//! Trace spans of a batch: one for each activity whose trace is sampled.

use trailpad_common::id::ActivityId;
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::runtime::trace::{Span, SpanKind, TraceContext, Tracer};
use trailpad_common::timestamp::Timestamp;

use crate::decode::{Failed, Item};

/// Open spans, from taking a batch to storing it. Empty if no trace is sampled.
pub struct StoreSpans {
    began: Timestamp,
    open: Vec<OpenSpan>,
}

struct OpenSpan {
    context: TraceContext,
    parent: TraceContext,
    activity: ActivityId,
    attempt: u32,
}

impl StoreSpans {
    pub fn begin(tracer: &Tracer, items: &[Item<'_>]) -> Self {
        let open = items.iter().filter_map(|item| {
            let Envelope { id, attempt, traceparent, .. } = item.envelope;
            let parent = traceparent?;
            let context = tracer.begin(Some(parent))?;
            Some(OpenSpan { context, parent, activity: id, attempt })
        });
        Self { began: Timestamp::now(), open: open.collect() }
    }

    /// Ends and records the spans, once each activity is stored or has failed individually.
    pub fn end(self, tracer: &Tracer, failed: &[Failed<'_>]) {
        let ended = Timestamp::now();
        for OpenSpan { context, parent, activity, attempt } in self.open {
            // The log line of the failure has the reason and the trace.
            let has_failed = failed.iter().any(|failed| failed.envelope.id == activity);
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
