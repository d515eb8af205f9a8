//! Decodes messages into activities. Pure.

use trailpad_common::activity::{Activity, Handling, Limits};
use trailpad_common::failure::{Cause, Failure, Reason};
use trailpad_common::queue::envelope::{self, Envelope, Unreadable};
use trailpad_common::queue::{Delivery, MessageKind};

/// The contents of a batch of messages.
#[derive(Default)]
pub struct Decoded<'a> {
    /// Activities that can be stored.
    pub readable: Vec<Item<'a>>,
    /// Envelopes whose activity cannot be read.
    pub failed: Vec<(Envelope<'a>, Failure)>,
    /// Bytes that are not a valid envelope.
    pub unreadable: Vec<Unreadable<'a>>,
}

pub struct Item<'a> {
    pub envelope: Envelope<'a>,
    pub activity: Activity<'a>,
}

/// Decodes every message. The gateway has already applied the limits, so this applies none: see
/// [`Limits::NONE`].
pub fn decode(deliveries: &[Delivery]) -> Decoded<'_> {
    let mut decoded = Decoded::default();
    for delivery in deliveries {
        match delivery.kind {
            MessageKind::Activities => {
                for element in envelope::read(&delivery.body) {
                    match element {
                        Ok(envelope) => decoded.add(envelope),
                        Err(unreadable) => decoded.unreadable.push(unreadable),
                    }
                }
            }
            MessageKind::DeadLetters | MessageKind::Unreadable => {
                let error = "a message of unknown kind".to_owned();
                decoded.unreadable.push(Unreadable { bytes: &delivery.body, error });
            }
        }
    }
    decoded
}

impl<'a> Decoded<'a> {
    fn add(&mut self, envelope: Envelope<'a>) {
        match Activity::parse(envelope.activity.as_bytes(), Handling::Lenient, &Limits::NONE) {
            Ok(parsed) => self.readable.push(Item { envelope, activity: parsed.activity }),
            Err(_) => {
                let error = "the activity is invalid: a gateway would reject it".to_owned();
                let cause = Cause { reason: Reason::Unreadable, error };
                self.failed.push((envelope, Failure::Permanent(cause)));
            }
        }
    }
}
