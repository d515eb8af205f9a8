//! The payload of a webhook: an activity's fields, their rules, and the parser that checks them.
//!
//! Gateway and worker parse with the same function, so a worker can read every payload that a
//! gateway accepted. No I/O: every rule is a function of the bytes.
//!
//! A new optional text field needs a line in `Activity`, in `Field` and in
//! `Parser::activity_member`.

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

/// An activity. Its texts borrow from the sender's JSON unless they contain escapes.
///
/// The default is a starting point for struct updates; its blank title is not valid.
//
// The doc comments of the fields are part of docs/openapi.json. A test compares the lengths in the
// schema with `Limits::INGRESS`, in bytes.
#[derive(Clone, Debug, Default, PartialEq, ToSchema)]
#[schema(rename_all = "camelCase", description = "The activity that a sender posts.")]
pub struct Activity<'a> {
    /// A short, clear title; not blank.
    #[schema(min_length = 1, max_length = 1_024)]
    pub title: Cow<'a, str>,
    /// A more detailed summary.
    #[schema(max_length = 65_536)]
    pub description: Option<Cow<'a, str>>,
    /// Start of the activity: an ISO 8601 date and time with `Z` or an offset.
    #[schema(value_type = String, format = DateTime)]
    pub start_time: Timestamp,
    /// End of the activity, in the same format; not before `startTime`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub end_time: Option<Timestamp>,
    /// The cause of the activity.
    #[schema(max_length = 512)]
    pub trigger: Option<Cow<'a, str>>,
    /// The event's name, if it differs from the trigger.
    #[schema(max_length = 512)]
    pub event: Option<Cow<'a, str>>,
    /// E-mail address of the member to assign the activity to. Default: the webhook's creator.
    #[schema(value_type = Option<String>)]
    pub member_email: Option<Email>,
    /// The sender's id for the activity, and its idempotency key within the webhook.
    #[schema(max_length = 512)]
    pub external_id: Option<Cow<'a, str>>,
    /// Extra data, stored unchanged. Its member `processing` holds processing instructions:
    /// `onDuplicate` is `ignore` or `replace`, `onUnknownMember` is `retry` or `creator`.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<&'a str>,
    #[schema(ignore)]
    pub processing: Processing,
}

/// Processing instructions (`metadata.processing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processing {
    pub on_duplicate: OnDuplicate,
    pub on_unknown_member: OnUnknownMember,
}

/// `metadata.processing.onDuplicate`: the webhook already has an activity with this `externalId`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// `"ignore"`: keep the stored activity.
    #[default]
    Ignore,
    /// `"replace"`: the newest activity replaces the stored content.
    Replace,
}

/// `metadata.processing.onUnknownMember`: `memberEmail` is not a member of the workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknownMember {
    /// `"retry"`: follow the retry schedule, then dead-letter the activity.
    #[default]
    Retry,
    /// `"creator"`: assign the activity to the webhook's creator.
    Creator,
}

/// Treatment of unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Accept the activity without them, and return a warning for each.
    Lenient,
    /// Reject the activity (`Prefer: handling=strict`, RFC 7240).
    Strict,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<'a> {
    pub activity: Activity<'a>,
    pub warnings: Vec<Finding>,
}

impl<'a> Activity<'a> {
    /// Parses and checks a payload in one pass.
    ///
    /// # Errors
    /// The body is not JSON or not an object, or the activity has faults. Reports all faults at
    /// once, up to 50.
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
