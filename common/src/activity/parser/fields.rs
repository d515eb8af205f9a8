//! The rules of the activity's own fields.

use std::borrow::Cow;

use super::{Parser, Stop, Value};
use crate::activity::field::Field;
use crate::activity::payload_error::Code;
use crate::activity::{Handling, OnDuplicate, OnUnknownMember};
use crate::email::Email;
use crate::timestamp::{Timestamp, TimestampError};

impl<'a> Parser<'a, '_> {
    pub(super) fn activity_member(&mut self, name: usize, value: Value<'a>) -> Result<(), Stop> {
        let Some(field) = Field::named(&self.names[name]) else {
            return self.unknown_field(name);
        };
        // `null` in an optional field means absent.
        if matches!(value, Value::Null) {
            return Ok(());
        }
        let limits = self.limits;
        match field {
            Field::Title => {
                self.has_title = true;
                self.draft.title = self.nonblank_field("title", &value, limits.title_bytes_max)?;
            }
            Field::Description => {
                self.draft.description =
                    self.text_field("description", &value, limits.description_bytes_max)?;
            }
            Field::StartTime => {
                self.has_start_time = true;
                self.draft.start_time = self.timestamp_field("startTime", &value)?;
            }
            Field::EndTime => self.draft.end_time = self.timestamp_field("endTime", &value)?,
            Field::Trigger => {
                self.draft.trigger = self.text_field("trigger", &value, limits.label_bytes_max)?
            }
            Field::Event => {
                self.draft.event = self.text_field("event", &value, limits.label_bytes_max)?
            }
            Field::MemberEmail => self.draft.member_email = self.email_field(&value)?,
            Field::ExternalId => {
                self.draft.external_id =
                    self.nonblank_field("externalId", &value, limits.external_id_bytes_max)?;
            }
            Field::Metadata => match value {
                Value::Object(raw) => self.draft.metadata = Some(raw),
                other => self.wrong_type("metadata", "an object", &other)?,
            },
        }
        Ok(())
    }

    fn unknown_field(&mut self, name: usize) -> Result<(), Stop> {
        let suggestion = Field::nearest(&self.names[name])
            .map_or(String::new(), |known| format!("; did you mean {known}?"));
        match self.handling {
            Handling::Strict => self.fault(
                Code::UnknownField,
                format!(
                    "an activity has no such field{}",
                    if suggestion.is_empty() {
                        ": put extra data into metadata"
                    } else {
                        &suggestion
                    }
                ),
            ),
            Handling::Lenient => {
                let hint = if suggestion.is_empty() {
                    "; put extra data into metadata"
                } else {
                    &suggestion
                };
                self.warn(
                    Code::UnknownField,
                    format!("an activity has no such field, so it is not stored{hint}"),
                );
                Ok(())
            }
        }
    }

    fn text_field(
        &mut self,
        name: &str,
        value: &Value<'a>,
        bytes_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Stop> {
        let Value::Text(text) = value else {
            self.wrong_type(name, "a string", value)?;
            return Ok(None);
        };
        if text.fault().is_some() {
            return Ok(None); // told already
        }
        let text = text.decode();
        if text.len() > bytes_max {
            self.fault(
                Code::TooLong,
                format!(
                    "{name} is {} bytes long; at most {bytes_max} are stored: shorten it",
                    text.len()
                ),
            )?;
            return Ok(None);
        }
        Ok(Some(text))
    }

    fn nonblank_field(
        &mut self,
        name: &str,
        value: &Value<'a>,
        bytes_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Stop> {
        let text = self.text_field(name, value, bytes_max)?;
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            self.fault(
                Code::Blank,
                format!(
                    "{name} is blank: fill it in{}",
                    if name == "title" { "" } else { ", or leave it out" }
                ),
            )?;
            return Ok(None);
        }
        Ok(text)
    }

    fn timestamp_field(
        &mut self,
        name: &str,
        value: &Value<'a>,
    ) -> Result<Option<Timestamp>, Stop> {
        let Some(text) = self.text_field(name, value, self.limits.timestamp_bytes_max)? else {
            return Ok(None);
        };
        let (code, detail) = match Timestamp::parse(&text) {
            Ok(read) => {
                if !read.has_offset {
                    self.warn(Code::MissingOffset, format!("{name} has no offset and was read as UTC: add Z or an offset such as +02:00"));
                }
                return Ok(Some(read.timestamp));
            }
            Err(TimestampError::Syntax) => (
                Code::Datetime,
                format!(
                    "{name} must be an ISO 8601 date and time, such as \"2024-08-03T11:30:00Z\""
                ),
            ),
            Err(TimestampError::Impossible) => (
                Code::Datetime,
                format!(
                    "{name} names no possible date, time or offset (months are 01 to 12, hours 00 to 23, minutes and seconds 00 to 59)"
                ),
            ),
            Err(TimestampError::OutOfRange) => {
                (Code::DatetimeRange, format!("{name} must lie in the years 0001 to 9999, in UTC"))
            }
        };
        self.fault(code, detail)?;
        Ok(None)
    }

    fn email_field(&mut self, value: &Value<'a>) -> Result<Option<Email>, Stop> {
        let Some(text) = self.text_field("memberEmail", value, usize::MAX)? else {
            return Ok(None);
        };
        match Email::parse(&text) {
            Ok(email) => Ok(Some(email)),
            Err(error) => self.fault(Code::Email, format!("memberEmail is {error}")).map(|()| None),
        }
    }

    pub(super) fn processing_member(&mut self, name: usize, value: &Value<'a>) -> Result<(), Stop> {
        let word = match value {
            Value::Null => return Ok(()),
            Value::Text(text) => Some(text.decode()),
            _ => None,
        };
        let processing = &mut self.draft.processing;
        let choices = match (&*self.names[name], word.as_deref()) {
            ("onDuplicate", Some("ignore")) => {
                return {
                    processing.on_duplicate = OnDuplicate::Ignore;
                    Ok(())
                };
            }
            ("onDuplicate", Some("replace")) => {
                return {
                    processing.on_duplicate = OnDuplicate::Replace;
                    Ok(())
                };
            }
            ("onUnknownMember", Some("retry")) => {
                return {
                    processing.on_unknown_member = OnUnknownMember::Retry;
                    Ok(())
                };
            }
            ("onUnknownMember", Some("creator")) => {
                return {
                    processing.on_unknown_member = OnUnknownMember::Creator;
                    Ok(())
                };
            }
            ("onDuplicate", _) => "onDuplicate must be \"ignore\" or \"replace\"",
            ("onUnknownMember", _) => "onUnknownMember must be \"retry\" or \"creator\"",
            _ => return Ok(()),
        };
        self.fault(Code::Processing, choices)
    }
}
