//! Reads messages, and decodes their activities. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use trailpad_common::activity::{Activity, Handling, Limits};
use trailpad_common::email::Email;
use trailpad_common::failure::{Cause, Failure, Reason};
use trailpad_common::queue::envelope::{self, Envelope, Unreadable};
use trailpad_common::queue::{Delivery, MessageKind};

/// The contents of a batch of messages.
#[derive(Default)]
pub struct Contents<'a> {
    pub envelopes: Vec<Envelope<'a>>,
    /// Bytes that are not a valid envelope.
    pub unreadable: Vec<Unreadable<'a>>,
}

/// Reads every message. A message that panics its reader is unreadable.
pub fn read(deliveries: &[Delivery]) -> Contents<'_> {
    let mut contents = Contents::default();
    for delivery in deliveries {
        let elements = catch_unwind(AssertUnwindSafe(|| elements(delivery)));
        let panicked = |_| {
            let error = "reading the message crashed".to_owned();
            vec![Err(Unreadable { bytes: &delivery.body, error })]
        };
        for element in elements.unwrap_or_else(panicked) {
            match element {
                Ok(envelope) => contents.envelopes.push(envelope),
                Err(unreadable) => contents.unreadable.push(unreadable),
            }
        }
    }
    contents
}

fn elements(delivery: &Delivery) -> Vec<Result<Envelope<'_>, Unreadable<'_>>> {
    match delivery.kind {
        MessageKind::Activities => envelope::read(&delivery.body),
        MessageKind::DeadLetters | MessageKind::Unreadable => {
            let error = "a message of unknown kind".to_owned();
            vec![Err(Unreadable { bytes: &delivery.body, error })]
        }
    }
}

pub struct Item<'a> {
    pub envelope: Envelope<'a>,
    pub activity: Activity<'a>,
}

/// An activity that was not stored.
pub struct Failed<'a> {
    pub envelope: Envelope<'a>,
    /// The member that it names.
    pub member_email: Option<Email>,
    pub failure: Failure,
}

/// Decodes the activities. The gateway has already applied the limits, so this applies none: see
/// [`Limits::NONE`].
pub fn decode<'a>(envelopes: &[Envelope<'a>]) -> (Vec<Item<'a>>, Vec<Failed<'a>>) {
    let mut readable = Vec::with_capacity(envelopes.len());
    let mut failed = Vec::new();
    for envelope in envelopes {
        let envelope = envelope.clone();
        match Activity::parse(envelope.activity.as_bytes(), Handling::Lenient, &Limits::NONE) {
            Ok(parsed) => readable.push(Item { envelope, activity: parsed.activity }),
            Err(_) => {
                let error = "the activity is invalid: a gateway would reject it".to_owned();
                let failure = Failure::Permanent(Cause { reason: Reason::Unreadable, error });
                failed.push(Failed { envelope, member_email: None, failure });
            }
        }
    }
    (readable, failed)
}
