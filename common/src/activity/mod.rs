//! The activity a sender posts: its fields, its rules, and the one pass that checks them.
//!
//! Gateway and worker read a payload with the same function, so what the first accepts the second
//! understands. No I/O here: every rule is a function of the bytes.

mod field;
mod limits;
mod parser;
mod payload_error;

use std::borrow::Cow;

use utoipa::ToSchema;

pub use limits::Limits;
pub use payload_error::{Code, Finding, PayloadError};

use crate::email::Email;
use crate::timestamp::Timestamp;

/// An activity, borrowing from the sender's JSON where nothing had to be decoded.
//
// The schema's lengths repeat `Limits::INGRESS`, in bytes; a test of the document holds them to it.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(rename_all = "camelCase", description = "What a sender posts.")]
pub struct Activity<'a> {
    /// A short, clear title; not blank.
    #[schema(min_length = 1, max_length = 1_024)]
    pub title: Cow<'a, str>,
    /// A more detailed summary.
    #[schema(max_length = 65_536)]
    pub description: Option<Cow<'a, str>>,
    /// When the activity started: an ISO 8601 date and time, with `Z` or an offset.
    #[schema(value_type = String, format = DateTime)]
    pub start_time: Timestamp,
    /// When it ended; not before it started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub end_time: Option<Timestamp>,
    /// What caused it.
    #[schema(max_length = 512)]
    pub trigger: Option<Cow<'a, str>>,
    /// The event's name, if different from the trigger.
    #[schema(max_length = 512)]
    pub event: Option<Cow<'a, str>>,
    /// The e-mail of the member it is assigned to; without one, the webhook's creator.
    #[schema(value_type = Option<String>)]
    pub member_email: Option<Email>,
    /// The sender's id: the key of idempotence within its webhook.
    #[schema(max_length = 512)]
    pub external_id: Option<Cow<'a, str>>,
    /// Any extra data, kept as it came. Its member `processing` holds processing instructions:
    /// `onDuplicate` is `ignore` or `replace`, `onUnknownMember` is `retry` or `creator`.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<&'a str>,
    /// The processing instructions found in `metadata.processing`.
    #[schema(ignore)]
    pub processing: Processing,
}

/// Processing instructions (`metadata.processing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processing {
    /// What to do where the webhook has an activity of this externalId already.
    pub on_duplicate: OnDuplicate,
    /// What to do where memberEmail names nobody in the workspace.
    pub on_unknown_member: OnUnknownMember,
}

/// `metadata.processing.onDuplicate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// `"ignore"`: the row stays as it is.
    #[default]
    Ignore,
    /// `"replace"`: the newest activity becomes the row's content.
    Replace,
}

/// `metadata.processing.onUnknownMember`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknownMember {
    /// `"retry"`: the retry schedule, then a dead letter.
    #[default]
    Retry,
    /// `"creator"`: assign it to the webhook's creator.
    Creator,
}

/// What to do with fields that are not in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Accept them, store nothing of them, and name them in a warning.
    Lenient,
    /// Refuse them (`Prefer: handling=strict`, RFC 7240).
    Strict,
}

/// An accepted payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<'a> {
    /// The activity.
    pub activity: Activity<'a>,
    /// What the sender should know, though it was accepted.
    pub warnings: Vec<Finding>,
}

impl<'a> Activity<'a> {
    /// Reads a payload in one pass over every token of it.
    ///
    /// # Errors
    /// A [`PayloadError`]: not JSON, not an object, or every fault of its shape at once.
    pub fn parse(
        body: &'a [u8],
        handling: Handling,
        limits: &Limits,
    ) -> Result<Parsed<'a>, PayloadError> {
        parser::parse(body, handling, limits)
    }
}

#[cfg(test)]
mod tests;
