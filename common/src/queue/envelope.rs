//! Envelopes: the format of activities in the queue.
//!
//! The body of a message of kind [`MessageKind::Activities`](crate::queue::MessageKind) is a JSON
//! array of envelopes. `activity` is the sender's JSON, byte for byte. `traceparent` is optional
//! (W3C Trace Context):
//!
//! ```
//! use trailpad_common::queue::envelope::{self, Batch};
//!
//! let message = r#"[{
//!     "id": "019117f0-2d40-7000-8000-000000000001",
//!     "webhookId": "019117f0-2d40-7000-8000-000000000002",
//!     "receivedAt": "2024-08-03T11:30:00.123456Z",
//!     "attempt": 1,
//!     "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
//!     "activity": {"title": "Call", "startTime": "2024-08-03T11:30:00Z"}
//! }]"#;
//! let envelope = envelope::read(message.as_bytes())
//!     .remove(0)
//!     .expect("the envelope should be readable");
//! assert_eq!(envelope.attempt, 1);
//! assert_eq!(envelope.activity, r#"{"title": "Call", "startTime": "2024-08-03T11:30:00Z"}"#);
//!
//! let mut batch = Batch::with_capacity(1_024);
//! batch.push(&envelope);
//! let written = batch.finish();
//! let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
//! assert_eq!(json(&written), json(message.as_bytes()));
//! ```

use std::borrow::Cow;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{ActivityId, WebhookId};
use crate::runtime::trace::TraceContext;
use crate::timestamp::Timestamp;

/// An accepted activity on its way to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope<'a> {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    /// The time at which the gateway had read the request.
    pub received_at: Timestamp,
    /// Number of the attempt to store the activity, from 1.
    pub attempt: u32,
    /// The trace context of the request.
    pub traceparent: Option<TraceContext>,
    /// The sender's JSON.
    pub activity: &'a str,
}

/// An element that is not an envelope, or a whole message that is not a JSON array.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable<'a> {
    pub bytes: &'a [u8],
    /// Never quotes the bytes.
    pub error: String,
}

/// The JSON of an envelope.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    id: ActivityId,
    webhook_id: WebhookId,
    received_at: &'a str,
    attempt: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    activity: &'a RawValue,
}

impl<'a> Wire<'a> {
    fn open(self) -> Result<Envelope<'a>, String> {
        let received_at = Timestamp::parse(self.received_at)
            .map_err(|_| "receivedAt is not a valid timestamp".to_owned())?
            .timestamp;
        Ok(Envelope {
            id: self.id,
            webhook_id: self.webhook_id,
            received_at,
            attempt: self.attempt,
            traceparent: self.traceparent.and_then(|text| TraceContext::parse(&text)),
            activity: self.activity.get(),
        })
    }
}

impl Envelope<'_> {
    /// Appends the envelope's JSON. Written by hand, because no other copy in the gateway is as hot.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { id, webhook_id, received_at, attempt, traceparent, activity } = self;
        // Writing to a Vec can't fail.
        let _ = write!(
            out,
            r#"{{"id":"{id}","webhookId":"{webhook_id}","receivedAt":"{received_at}","attempt":{attempt}"#
        );
        if let Some(traceparent) = traceparent {
            let _ = write!(out, r#","traceparent":"{traceparent}""#);
        }
        out.extend_from_slice(br#","activity":"#);
        out.extend_from_slice(activity.as_bytes());
        out.push(b'}');
    }

    /// Approximate number of bytes that [`Envelope::write`] appends in addition to the activity.
    pub const OVERHEAD_BYTES: usize = 256;
}

/// Builds a message from envelopes.
pub struct Batch {
    body: Vec<u8>,
    count: usize,
}

impl Batch {
    pub fn with_capacity(bytes: usize) -> Self {
        let mut body = Vec::with_capacity(bytes);
        body.push(b'[');
        Self { body, count: 0 }
    }

    pub fn push(&mut self, envelope: &Envelope<'_>) {
        if self.count > 0 {
            self.body.push(b',');
        }
        envelope.write(&mut self.body);
        self.count += 1;
    }

    /// Number of envelopes.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Size of the message without the closing bracket.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.body.push(b']');
        self.body
    }
}

/// Builds a message of one envelope.
pub fn single(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut batch = Batch::with_capacity(envelope.activity.len() + Envelope::OVERHEAD_BYTES);
    batch.push(envelope);
    batch.finish()
}

/// Parses a message. A broken element does not affect the others.
pub fn read(message: &[u8]) -> Vec<Result<Envelope<'_>, Unreadable<'_>>> {
    let unreadable = |bytes, error: String| Err(Unreadable { bytes, error });
    if let Ok(wires) = serde_json::from_slice::<Vec<Wire<'_>>>(message)
        && let Ok(envelopes) = wires.into_iter().map(Wire::open).collect::<Result<Vec<_>, _>>()
    {
        return envelopes.into_iter().map(Ok).collect();
    }
    match serde_json::from_slice::<Vec<&RawValue>>(message) {
        Ok(elements) => elements
            .into_iter()
            .map(|element| {
                let wire = serde_json::from_str::<Wire<'_>>(element.get());
                wire.map_err(|error| describe(&error))
                    .and_then(Wire::open)
                    .or_else(|error| unreadable(element.get().as_bytes(), error))
            })
            .collect(),
        Err(error) => vec![unreadable(message, describe(&error))],
    }
}

/// Describes an error without the text of `serde_json`, which can quote the message.
fn describe(error: &serde_json::Error) -> String {
    format!("not a message of envelopes ({:?} at column {})", error.classify(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(activity: &str) -> Envelope<'_> {
        Envelope {
            id: ActivityId::received_at(Timestamp::from_unix_micros(1)),
            webhook_id: WebhookId::generate(),
            received_at: Timestamp::from_unix_micros(1_722_684_600_123_456),
            attempt: 3,
            traceparent: TraceContext::parse(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            activity,
        }
    }

    #[test]
    fn envelopes_are_read_back_with_the_activity_byte_for_byte() {
        let one = envelope("{ \"title\" :\n1e2 }");
        let two = Envelope { traceparent: None, ..envelope("{}") };
        let mut batch = Batch::with_capacity(0);
        batch.push(&one);
        batch.push(&two);
        let message = batch.finish();
        assert_eq!(read(&message), [Ok(one), Ok(two)]);
    }

    #[test]
    fn a_broken_element_does_not_affect_the_others() {
        let good = envelope("{}");
        let mut message = single(&good);
        message.pop();
        message.extend_from_slice(br#",{"id":"no uuid"},7]"#);
        let read = read(&message);
        assert_eq!(read[0], Ok(good));
        assert_eq!(
            read[1].as_ref().expect_err("a broken element should be unreadable").bytes,
            br#"{"id":"no uuid"}"#
        );
        assert_eq!(
            read[2].as_ref().expect_err("a broken element should be unreadable").bytes,
            b"7"
        );
    }

    #[test]
    fn a_message_that_is_not_an_array_is_unreadable_and_not_quoted() {
        let read = read(b"\xffSECRET");
        let unreadable = read[0].as_ref().expect_err("the message should be unreadable");
        assert_eq!(unreadable.bytes, b"\xffSECRET");
        assert!(!unreadable.error.contains("SECRET"));
    }
}
