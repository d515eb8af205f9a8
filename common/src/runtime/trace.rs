//! Traces of an activity from its request to its row.
//!
//! The envelope carries the W3C trace context, so that the worker's span is a child of the gateway's
//! span, and the gateway's span a child of the sender's. Roles record completed spans; the binary
//! exports them over OTLP. While tracing is off, nothing is recorded and the sender's context is
//! passed on unchanged.

use std::fmt;
use std::sync::Arc;

use rand::RngExt;
use tokio::sync::mpsc;

use crate::timestamp::Timestamp;

/// Identifies a span: W3C Trace Context, version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Never 0.
    pub trace_id: u128,
    /// Never 0.
    pub span_id: u64,
    /// Bit 0: the trace is sampled.
    pub flags: u8,
}

const SAMPLED: u8 = 1;

impl TraceContext {
    /// Parses `00-<trace id>-<span id>-<flags>`, all in lower-case hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = parts.next()?;
        let trace = parts.next()?;
        let span = parts.next()?;
        let flags = parts.next()?;
        let is_hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_well_formed = version == "00"
            && is_hex(trace, 32)
            && is_hex(span, 16)
            && is_hex(flags, 2)
            && parts.next().is_none();
        if !is_well_formed {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Self { trace_id, span_id, flags: u8::from_str_radix(flags, 16).ok()? })
    }

    /// `true` if the origin of the trace asks for its spans to be recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    fn child(self) -> Self {
        Self { span_id: rand::rng().random_range(1..=u64::MAX), ..self }
    }

    fn root() -> Self {
        let mut random = rand::rng();
        let trace_id = random.random_range(1..=u128::MAX);
        let span_id = random.random_range(1..=u64::MAX);
        Self { trace_id, span_id, flags: SAMPLED }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Handles a request.
    Server,
    /// Processes a message.
    Consumer,
}

/// A completed span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub name: &'static str,
    pub kind: SpanKind,
    pub context: TraceContext,
    pub parent: Option<TraceContext>,
    pub began: Timestamp,
    pub ended: Timestamp,
    /// Must not contain a part of a payload or a token.
    pub attributes: Vec<(&'static str, String)>,
    /// The stable name of the error; `None` if the operation succeeded.
    pub error: Option<&'static str>,
}

/// Receives the spans of all roles. Cheap to clone; off by default.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<On>>);

struct On {
    spans: mpsc::Sender<Span>,
    sample_ratio: f64,
}

impl Tracer {
    /// Creates a tracer and the receiver of its spans. `sample_ratio` applies to requests without a
    /// trace context; for other requests the sender's flag decides. At most `capacity` spans wait for
    /// the receiver. Further spans are dropped, because tracing must not delay an activity.
    pub fn on(sample_ratio: f64, capacity: usize) -> (Self, mpsc::Receiver<Span>) {
        let (spans, receiver) = mpsc::channel(capacity);
        (Self(Some(Arc::new(On { spans, sample_ratio }))), receiver)
    }

    /// Returns the context of a new child of `parent`; `None` if the span is not to be recorded.
    pub fn begin(&self, parent: Option<TraceContext>) -> Option<TraceContext> {
        let on = self.0.as_ref()?;
        match parent {
            Some(parent) => parent.is_sampled().then(|| parent.child()),
            None => rand::rng().random_bool(on.sample_ratio).then(TraceContext::root),
        }
    }

    /// Records a span, or drops it if too many spans wait.
    pub fn record(&self, span: Span) {
        if let Some(on) = &self.0 {
            let _ = on.spans.try_send(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context(text: &str) -> TraceContext {
        TraceContext::parse(text).expect("the context should be well-formed")
    }

    #[test]
    fn a_well_formed_context_is_parsed_and_written_unchanged() {
        assert_eq!(context(SENDER).to_string(), SENDER);
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319\"-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_is_recorded_while_tracing_is_off() {
        assert_eq!(Tracer::default().begin(Some(context(SENDER))), None);
    }

    #[test]
    fn the_senders_sampling_flag_is_followed_and_its_trace_continued() {
        let (tracer, _spans) = Tracer::on(1.0, 1);
        let parent = context(SENDER);
        let child = tracer.begin(Some(parent)).expect("the trace should be sampled");
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(tracer.begin(Some(TraceContext { flags: 0, ..parent })), None);
    }

    #[test]
    fn requests_without_a_context_are_sampled_by_the_ratio() {
        assert!(
            Tracer::on(1.0, 1)
                .0
                .begin(None)
                .expect("a ratio of 1 should sample every trace")
                .is_sampled()
        );
        assert_eq!(Tracer::on(0.0, 1).0.begin(None), None);
    }
}
