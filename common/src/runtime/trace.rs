//! Traces: what became of an activity from the request to the row, for whoever follows them.
//!
//! The W3C trace context travels in the envelope, so that the worker's span hangs below the
//! gateway's, and that below the sender's. Roles record spans that have ended; who exports them
//! (the binary, over OTLP) and whether anybody does is not their concern. Off, nothing is recorded
//! and a sender's context is carried on as it came.

use std::fmt;
use std::sync::Arc;

use rand::RngExt;
use tokio::sync::mpsc;

use crate::timestamp::Timestamp;

/// Where in which trace something happens: W3C Trace Context, version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Bit 0: the trace is sampled.
    pub flags: u8,
}

const SAMPLED: u8 = 1;

impl TraceContext {
    /// Reads `00-<trace id>-<span id>-<flags>`, all lower-case hexadecimal; none: it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = parts.next()?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
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

    /// Whether whoever began the trace wants it recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    fn child(self) -> Self {
        Self { span_id: rand::rng().random_range(1..=u64::MAX), ..self }
    }

    fn root() -> Self {
        let mut random = rand::rng();
        let (trace_id, span_id) =
            (random.random_range(1..=u128::MAX), random.random_range(1..=u64::MAX));
        Self { trace_id, span_id, flags: SAMPLED }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Which side of the queue a span is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// It answers a request.
    Server,
    /// It works on a message.
    Consumer,
}

/// Something that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What it is.
    pub name: &'static str,
    /// Which side.
    pub kind: SpanKind,
    /// Where it is.
    pub context: TraceContext,
    /// The span it is below.
    pub parent: Option<TraceContext>,
    /// Its beginning.
    pub began: Timestamp,
    /// Its end.
    pub ended: Timestamp,
    /// What is known of it; nothing of a payload or a token.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did: a stable name.
    pub error: Option<&'static str>,
}

/// Where roles record spans. Cheap to clone; by default it is off.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<On>>);

struct On {
    spans: mpsc::Sender<Span>,
    sample_ratio: f64,
}

impl Tracer {
    /// A tracer whose spans come out of the receiver. Of requests that came without a trace
    /// `sample_ratio` are sampled; of the others those whose sender says so. At most `capacity`
    /// spans wait; more are dropped, because traces never hold up an activity.
    pub fn on(sample_ratio: f64, capacity: usize) -> (Self, mpsc::Receiver<Span>) {
        let (spans, receiver) = mpsc::channel(capacity);
        (Self(Some(Arc::new(On { spans, sample_ratio }))), receiver)
    }

    /// The context of a new span below `parent`; none: it is not to be recorded.
    pub fn begin(&self, parent: Option<TraceContext>) -> Option<TraceContext> {
        let on = self.0.as_ref()?;
        match parent {
            Some(parent) => parent.is_sampled().then(|| parent.child()),
            None => rand::rng().random_bool(on.sample_ratio).then(TraceContext::root),
        }
    }

    /// Records a span, or drops it where too many wait.
    pub fn record(&self, span: Span) {
        if let Some(on) = &self.0 {
            let _ = on.spans.try_send(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context(text: &str) -> TraceContext {
        TraceContext::parse(text).expect("well-formed")
    }

    #[test]
    fn a_well_formed_context_is_read_and_written_as_it_came() {
        assert_eq!(context(SENDERS).to_string(), SENDERS);
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
    fn off_nothing_is_recorded() {
        assert_eq!(Tracer::default().begin(Some(context(SENDERS))), None);
    }

    #[test]
    fn a_senders_choice_is_followed_and_its_trace_continued() {
        let (tracer, _spans) = Tracer::on(1.0, 1);
        let parent = context(SENDERS);
        let child = tracer.begin(Some(parent)).expect("sampled");
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(tracer.begin(Some(TraceContext { flags: 0, ..parent })), None);
    }

    #[test]
    fn without_a_senders_context_a_share_is_sampled() {
        assert!(Tracer::on(1.0, 1).0.begin(None).expect("all are").is_sampled());
        assert_eq!(Tracer::on(0.0, 1).0.begin(None), None);
    }
}
