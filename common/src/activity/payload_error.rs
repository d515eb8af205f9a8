//! Errors and warnings about a payload, with advice for its sender.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq)]
pub enum PayloadError {
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The expected token; never quotes the body.
        detail: Cow<'static, str>,
    },
    /// JSON, but not an object.
    NotAnObject,
    /// A JSON object that breaks rules of the activity; never empty.
    Faults(Vec<Finding>),
}

/// An error or a warning about a payload.
//
// The doc comments of the fields are part of docs/openapi.json.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// JSON Pointer (RFC 6901) to the value.
    pub pointer: String,
    /// Stable code, for programs.
    pub code: Code,
    /// The rule and how to follow it, for people. Never quotes a value.
    pub detail: Cow<'static, str>,
}

/// The stable code of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A required field is missing.
    Required,
    Blank,
    /// The value's type is not the field's type.
    Type,
    TooLong,
    /// Not an ISO 8601 date and time, or an impossible one.
    Datetime,
    /// Outside the years 0001 to 9999.
    DatetimeRange,
    EndBeforeStart,
    Email,
    /// An unknown value of a processing instruction.
    Processing,
    /// A string with a NUL character.
    Nul,
    /// A string with an unpaired surrogate.
    LoneSurrogate,
    /// A key that appears more than once in an object.
    DuplicateName,
    TooDeep,
    /// A number outside the range of a double.
    NumberRange,
    /// A number with too many digits.
    NumberTooLong,
    UnknownField,
    /// A time without `Z` or an offset (a warning).
    MissingOffset,
    /// More warnings than the response lists.
    More,
}
