//! Dead letters in the queue: the format of the messages that workers publish, and the conversion
//! of messages that the broker dead-lettered.
//!
//! The body of a message of kind [`MessageKind::DeadLetters`] is a JSON array. `reason` is the
//! stable name of a [`Reason`], and `message` a message of one [`envelope`]:
//!
//! ```
//! use trailpad_common::failure::{Cause, Reason};
//! use trailpad_common::queue::{dead_letter, envelope};
//! use trailpad_common::timestamp::Timestamp;
//!
//! let expected = r#"[{
//!     "reason": "unknown-member",
//!     "error": "memberEmail is not a member of the workspace",
//!     "deadAt": "2024-08-03T11:42:00.000000Z",
//!     "message": [{
//!         "id": "019117f0-2d40-7000-8000-000000000001",
//!         "webhookId": "019117f0-2d40-7000-8000-000000000002",
//!         "receivedAt": "2024-08-03T11:30:00.123456Z",
//!         "attempt": 4,
//!         "activity": {"title": "Call", "startTime": "2024-08-03T11:30:00Z"}
//!     }]
//! }]"#;
//!
//! let message = br#"[{
//!     "id": "019117f0-2d40-7000-8000-000000000001",
//!     "webhookId": "019117f0-2d40-7000-8000-000000000002",
//!     "receivedAt": "2024-08-03T11:30:00.123456Z",
//!     "attempt": 4,
//!     "activity": {"title": "Call", "startTime": "2024-08-03T11:30:00Z"}
//! }]"#;
//! let envelope = envelope::read(message).remove(0).expect("the envelope should be readable");
//! let cause = Cause {
//!     reason: Reason::UnknownMember,
//!     error: "memberEmail is not a member of the workspace".to_owned(),
//! };
//! let dead_at = Timestamp::parse("2024-08-03T11:42:00Z").expect("the time should be valid").timestamp;
//! let body = dead_letter::write([(&envelope, &cause)], dead_at);
//!
//! let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
//! assert_eq!(json(&body), json(expected.as_bytes()));
//! ```

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::activity::{Activity, Handling, Limits, OnDuplicate};
use crate::failure::{Cause, Reason};
use crate::id::ActivityId;
use crate::queue::envelope::{self, Envelope, Unreadable};
use crate::queue::{Delivery, MessageKind};
use crate::store::DeadLetter;
use crate::timestamp::Timestamp;

/// The JSON of a dead letter.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    reason: String,
    error: String,
    dead_at: String,
    message: Box<RawValue>,
}

/// Builds a message of kind [`MessageKind::DeadLetters`]. The dead letters of one batch share it.
pub fn write<'a>(
    dead: impl IntoIterator<Item = (&'a Envelope<'a>, &'a Cause)>,
    at: Timestamp,
) -> Vec<u8> {
    let wires: Vec<Wire> =
        dead.into_iter().map(|(envelope, cause)| wire(envelope, cause, at)).collect();
    serde_json::to_vec(&wires).unwrap_or_default()
}

fn wire(envelope: &Envelope<'_>, cause: &Cause, dead_at: Timestamp) -> Wire {
    let message = String::from_utf8(envelope::single(envelope)).unwrap_or_default();
    Wire {
        reason: cause.reason.as_str().to_owned(),
        error: cause.error.clone(),
        dead_at: dead_at.to_string(),
        // An envelope is JSON by construction. If it were not, the archive would get `null` as
        // unreadable bytes.
        message: RawValue::from_string(message).unwrap_or_else(|_| RawValue::NULL.to_owned()),
    }
}

/// Converts a message of the dead-letter queue. Its origin is a worker, or the broker, which
/// dead-letters whole messages. `now` is the time of death if the message has none.
pub fn read(delivery: &Delivery, now: Timestamp) -> Vec<DeadLetter> {
    match delivery.kind {
        MessageKind::DeadLetters => match serde_json::from_slice::<Vec<Wire>>(&delivery.body) {
            Ok(wires) => wires.iter().flat_map(|wire| from_wire(wire, now)).collect(),
            Err(_) => {
                vec![of_unreadable(
                    &delivery.body,
                    "a dead letter that can't be parsed".into(),
                    now,
                )]
            }
        },
        MessageKind::Activities => {
            let unknown = || Cause {
                reason: Reason::DeadLetteredByBroker,
                error: "the message came to the dead-letter queue without a reason".to_owned(),
            };
            let cause = delivery.broker_cause.clone().unwrap_or_else(unknown);
            from_message(&delivery.body, &cause, now)
        }
        MessageKind::Unreadable => {
            vec![of_unreadable(&delivery.body, "a message of unknown kind".into(), now)]
        }
    }
}

fn from_wire(wire: &Wire, now: Timestamp) -> Vec<DeadLetter> {
    let reason = wire.reason.parse().unwrap_or(Reason::Unreadable);
    let dead_at = Timestamp::parse(&wire.dead_at).map_or(now, |parsed| parsed.timestamp);
    from_message(
        wire.message.get().as_bytes(),
        &Cause { reason, error: wire.error.clone() },
        dead_at,
    )
}

fn from_message(message: &[u8], cause: &Cause, dead_at: Timestamp) -> Vec<DeadLetter> {
    envelope::read(message)
        .into_iter()
        .map(|element| match element {
            Ok(envelope) => of_envelope(&envelope, cause, dead_at),
            Err(Unreadable { bytes, error }) => of_unreadable(bytes, error, dead_at),
        })
        .collect()
}

/// The dead letter of one activity.
pub fn of_envelope(envelope: &Envelope<'_>, cause: &Cause, dead_at: Timestamp) -> DeadLetter {
    let parsed = Activity::parse(envelope.activity.as_bytes(), Handling::Lenient, &Limits::NONE);
    let activity = parsed.ok().map(|parsed| parsed.activity);
    let replaces = activity
        .as_ref()
        .is_some_and(|activity| activity.processing.on_duplicate == OnDuplicate::Replace);
    let (external_id, member_email) =
        activity.map_or((None, None), |activity| (activity.external_id, activity.member_email));
    DeadLetter {
        id: envelope.id,
        webhook_id: Some(envelope.webhook_id),
        external_id: external_id.map(|id| id.into_owned()),
        replaces,
        member_email,
        received_at: Some(envelope.received_at),
        traceparent: envelope.traceparent.map(|trace| trace.to_string()),
        attempts: envelope.attempt,
        reason: cause.reason,
        error: cause.error.clone(),
        payload: envelope.activity.as_bytes().to_vec(),
        dead_at,
    }
}

/// The dead letter of bytes that no activity can be read from.
pub fn of_unreadable(bytes: &[u8], error: String, dead_at: Timestamp) -> DeadLetter {
    DeadLetter {
        id: ActivityId::of_unreadable(bytes),
        webhook_id: None,
        external_id: None,
        replaces: false,
        member_email: None,
        received_at: None,
        traceparent: None,
        attempts: 0,
        reason: Reason::Unreadable,
        error,
        payload: bytes.to_vec(),
        dead_at,
    }
}

/// Keeps the last dead letter of each id: a message can be delivered twice, and a replay can fail
/// again.
pub fn last_deaths(dead: &[DeadLetter]) -> Vec<&DeadLetter> {
    let mut last: Vec<&DeadLetter> = dead.iter().collect();
    last.sort_by_key(|letter| (letter.id, std::cmp::Reverse(letter.dead_at)));
    last.dedup_by_key(|letter| letter.id);
    last
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::id::WebhookId;
    use crate::queue::Settle;

    struct Settled;

    #[async_trait]
    impl Settle for Settled {
        async fn ack(&self) {}
        async fn requeue(&self) {}
    }

    async fn dead_letters(kind: MessageKind, body: Vec<u8>) -> Vec<DeadLetter> {
        let delivery = Delivery::new(kind, body, Box::new(Settled));
        let dead = read(&delivery, Timestamp::from_unix_micros(9));
        delivery.ack().await;
        dead
    }

    fn envelope() -> Envelope<'static> {
        Envelope {
            id: ActivityId::received_at(Timestamp::from_unix_micros(5)),
            webhook_id: WebhookId::generate(),
            received_at: Timestamp::from_unix_micros(5),
            attempt: 4,
            traceparent: None,
            activity: r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","externalId":"x","metadata":{"processing":{"onDuplicate":"replace"}}}"#,
        }
    }

    #[tokio::test]
    async fn a_dead_letter_is_read_back_with_its_reason_and_payload() {
        let envelope = envelope();
        let cause = Cause { reason: Reason::UnknownMember, error: "not a member".into() };
        let body = write([(&envelope, &cause)], Timestamp::from_unix_micros(7));
        let dead = dead_letters(MessageKind::DeadLetters, body).await;
        assert_eq!(dead.len(), 1);
        assert_eq!(
            (dead[0].id, dead[0].reason, dead[0].attempts),
            (envelope.id, Reason::UnknownMember, 4)
        );
        assert_eq!(dead[0].payload, envelope.activity.as_bytes());
        assert_eq!((dead[0].external_id.as_deref(), dead[0].replaces), (Some("x"), true));
        assert_eq!(dead[0].dead_at, Timestamp::from_unix_micros(7));
    }

    #[tokio::test]
    async fn the_last_of_two_dead_letters_with_the_same_id_is_kept() {
        let first = dead_letters(MessageKind::Unreadable, b"x".to_vec()).await.remove(0);
        let last = DeadLetter { dead_at: Timestamp::from_unix_micros(10), ..first.clone() };
        let other = dead_letters(MessageKind::Unreadable, b"y".to_vec()).await.remove(0);
        let all = [first.clone(), last.clone(), other.clone(), first];
        let mut kept = last_deaths(&all);
        kept.sort_by_key(|letter| letter.dead_at);
        assert_eq!(kept, [&other, &last]);
    }

    #[tokio::test]
    async fn a_message_dead_lettered_by_the_broker_is_split_into_its_activities() {
        let mut batch = envelope::Batch::with_capacity(0);
        batch.push(&envelope());
        batch.push(&envelope());
        let dead = dead_letters(MessageKind::Activities, batch.finish()).await;
        assert_eq!(dead.len(), 2);
        assert!(dead.iter().all(|dead| dead.reason == Reason::DeadLetteredByBroker));
    }

    #[tokio::test]
    async fn unreadable_bytes_are_kept_with_an_id_derived_from_them() {
        let dead = dead_letters(MessageKind::Unreadable, b"\xff\x00".to_vec()).await;
        assert_eq!(dead[0].payload, b"\xff\x00");
        assert_eq!(dead[0].id, ActivityId::of_unreadable(b"\xff\x00"));
        assert_eq!(
            dead_letters(MessageKind::DeadLetters, b"{".to_vec()).await[0].reason,
            Reason::Unreadable
        );
    }
}
