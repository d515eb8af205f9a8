//! What can be wrong with a payload, in words for the person who must mend it.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// Why a payload is refused as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadError {
    /// It is not JSON: where it stops being JSON, and what should stand there.
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// A sentence.
        detail: Cow<'static, str>,
    },
    /// It is JSON, but not an object.
    NotAnObject,
    /// It is an object of the wrong shape; never empty.
    Faults(Vec<Finding>),
}

/// One fault or warning of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// Where: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What: stable, for programs.
    pub code: Code,
    /// What to do: a sentence, for people. Never quotes a value.
    pub detail: Cow<'static, str>,
}

/// The stable code of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A required field is missing.
    Required,
    /// A field that may not be blank is.
    Blank,
    /// A value of another type than the field's.
    Type,
    /// Longer than the field's limit.
    TooLong,
    /// Not an ISO 8601 date and time, or an impossible one.
    Datetime,
    /// Outside the years 0001 to 9999.
    DatetimeRange,
    /// endTime is before startTime.
    EndBeforeStart,
    /// Not an e-mail address.
    Email,
    /// A processing instruction with a value that is not one of its own.
    Processing,
    /// A string with a NUL character.
    Nul,
    /// A string with half of a surrogate pair.
    LoneSurrogate,
    /// A name that stands twice in one object.
    DuplicateName,
    /// Nested too deep.
    TooDeep,
    /// A number that a double can't hold.
    NumberRange,
    /// A number with too many digits.
    NumberTooLong,
    /// A field the contract does not have.
    UnknownField,
    /// A time without `Z` or an offset (a warning).
    MissingOffset,
    /// More was found than is told.
    More,
}
