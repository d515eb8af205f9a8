//! Envelopes: how an activity travels in the queue.
//!
//! A message of kind [`MessageKind::Activities`](crate::queue::MessageKind) is a JSON array of
//! them. `activity` is the sender's JSON, unaltered.

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
    /// The activity's identifier, given by the gateway.
    pub id: ActivityId,
    /// The webhook it was posted to.
    pub webhook_id: WebhookId,
    /// When the gateway had read it.
    pub received_at: Timestamp,
    /// Which attempt at storing it this is, from 1.
    pub attempt: u32,
    /// The trace of the request, if it is part of one.
    pub traceparent: Option<TraceContext>,
    /// The sender's JSON.
    pub activity: &'a str,
}

/// An element of a message that is no envelope, or a whole message that is no array.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable<'a> {
    /// What there is instead.
    pub bytes: &'a [u8],
    /// Why it can't be read; never quotes it.
    pub error: String,
}

/// The JSON of an envelope, both ways.
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
            .map_err(|_| "receivedAt is no instant".to_owned())?
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
    /// Appends the envelope's JSON. Written by hand because it is the gateway's hottest copy.
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

    /// About how many bytes [`Envelope::write`] appends beside the activity.
    pub const OVERHEAD_BYTES: usize = 256;
}

/// Builds a message from envelopes.
pub struct Batch {
    body: Vec<u8>,
    count: usize,
}

impl Batch {
    /// An empty message with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut body = Vec::with_capacity(bytes);
        body.push(b'[');
        Self { body, count: 0 }
    }

    /// Adds an envelope.
    pub fn push(&mut self, envelope: &Envelope<'_>) {
        if self.count > 0 {
            self.body.push(b',');
        }
        envelope.write(&mut self.body);
        self.count += 1;
    }

    /// How many envelopes there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the message has so far.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The finished message.
    pub fn finish(mut self) -> Vec<u8> {
        self.body.push(b']');
        self.body
    }
}

/// A message of one envelope.
pub fn single(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut batch = Batch::with_capacity(envelope.activity.len() + Envelope::OVERHEAD_BYTES);
    batch.push(envelope);
    batch.finish()
}

/// Reads a message. One broken element does not take its neighbours with it.
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

/// An error of `serde_json` without what it might quote.
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
    fn what_is_written_is_read_back_with_the_activity_byte_for_byte() {
        let (one, two) =
            (envelope("{ \"title\" :\n1e2 }"), Envelope { traceparent: None, ..envelope("{}") });
        let mut batch = Batch::with_capacity(0);
        batch.push(&one);
        batch.push(&two);
        let message = batch.finish();
        assert_eq!(read(&message), [Ok(one), Ok(two)]);
    }

    #[test]
    fn one_broken_element_does_not_take_its_neighbours_with_it() {
        let good = envelope("{}");
        let mut message = single(&good);
        message.pop();
        message.extend_from_slice(br#",{"id":"no uuid"},7]"#);
        let read = read(&message);
        assert_eq!(read[0], Ok(good));
        assert_eq!(read[1].as_ref().expect_err("broken").bytes, br#"{"id":"no uuid"}"#);
        assert_eq!(read[2].as_ref().expect_err("broken").bytes, b"7");
    }

    #[test]
    fn what_is_no_array_is_unreadable_as_a_whole_and_is_not_quoted() {
        let read = read(b"\xffSECRET");
        let unreadable = read[0].as_ref().expect_err("unreadable");
        assert_eq!(unreadable.bytes, b"\xffSECRET");
        assert!(!unreadable.error.contains("SECRET"));
    }
}
