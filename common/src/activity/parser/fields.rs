//! The rules of the activity's fields and of its processing instructions.

use std::borrow::Cow;

use super::{Parser, Stop, Value};
use crate::activity::field::Field;
use crate::activity::payload_error::Code;
use crate::activity::{Handling, OnDuplicate, OnUnknownMember};
use crate::email::Email;
use crate::timestamp::{Timestamp, TimestampError};

impl<'a> Parser<'a, '_> {
    /// Checks and keeps a member of the activity; `key` is an index into `Parser::keys`.
    pub(super) fn activity_member(&mut self, key: usize, value: Value<'a>) -> Result<(), Stop> {
        let Ok(field) = self.keys[key].parse() else {
            return self.unknown_field(key);
        };
        // `null` means absent.
        if matches!(value, Value::Null) {
            return Ok(());
        }
        let limits = self.limits;
        match field {
            Field::Title => {
                self.has_title = true;
                self.title = self.nonblank_field(field, &value, limits.title_bytes_max)?;
            }
            Field::Description => {
                self.activity.description =
                    self.text_field(field, &value, limits.description_bytes_max)?;
            }
            Field::StartTime => {
                self.has_start_time = true;
                self.start_time = self.timestamp_field(field, &value)?;
            }
            Field::EndTime => self.activity.end_time = self.timestamp_field(field, &value)?,
            Field::Trigger => {
                self.activity.trigger = self.text_field(field, &value, limits.label_bytes_max)?;
            }
            Field::Event => {
                self.activity.event = self.text_field(field, &value, limits.label_bytes_max)?;
            }
            Field::MemberEmail => self.activity.member_email = self.email_field(field, &value)?,
            Field::ExternalId => {
                self.activity.external_id =
                    self.nonblank_field(field, &value, limits.external_id_bytes_max)?;
            }
            Field::Metadata => match value {
                Value::Object(raw) => self.activity.metadata = Some(raw),
                other => self.wrong_type(field, "an object", &other)?,
            },
        }
        Ok(())
    }

    fn unknown_field(&mut self, key: usize) -> Result<(), Stop> {
        let advice = match Field::nearest(&self.keys[key]) {
            Some(known) => format!("did you mean {known}?"),
            None => "put extra data into metadata".to_owned(),
        };
        match self.handling {
            Handling::Strict => {
                self.fault(Code::UnknownField, format!("this field is unknown: {advice}"))
            }
            Handling::Lenient => {
                self.warn(
                    Code::UnknownField,
                    format!("this field is unknown and is not stored: {advice}"),
                );
                Ok(())
            }
        }
    }

    fn text_field(
        &mut self,
        field: Field,
        value: &Value<'a>,
        bytes_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Stop> {
        let Value::Text(text) = value else {
            self.wrong_type(field, "a string", value)?;
            return Ok(None);
        };
        if text.fault().is_some() {
            return Ok(None); // reported when the string was read
        }
        let text = text.decode();
        if text.len() > bytes_max {
            self.fault(
                Code::TooLong,
                format!("{field} has {} bytes, the maximum is {bytes_max}: shorten it", text.len()),
            )?;
            return Ok(None);
        }
        Ok(Some(text))
    }

    fn nonblank_field(
        &mut self,
        field: Field,
        value: &Value<'a>,
        bytes_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Stop> {
        let text = self.text_field(field, value, bytes_max)?;
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let or_omit = if field == Field::Title { "" } else { ", or leave it out" };
            self.fault(Code::Blank, format!("{field} is blank: fill it in{or_omit}"))?;
            return Ok(None);
        }
        Ok(text)
    }

    fn timestamp_field(
        &mut self,
        field: Field,
        value: &Value<'a>,
    ) -> Result<Option<Timestamp>, Stop> {
        let Some(text) = self.text_field(field, value, self.limits.timestamp_bytes_max)? else {
            return Ok(None);
        };
        let (code, detail) = match Timestamp::parse(&text) {
            Ok(parsed) => {
                if !parsed.has_offset {
                    self.warn(
                        Code::MissingOffset,
                        format!(
                            "{field} has no offset and was read as UTC: add Z or an offset such as +02:00"
                        ),
                    );
                }
                return Ok(Some(parsed.timestamp));
            }
            Err(TimestampError::Syntax) => (
                Code::Datetime,
                format!(
                    "{field} must be an ISO 8601 date and time, such as \"2024-08-03T11:30:00Z\""
                ),
            ),
            Err(TimestampError::Impossible) => (
                Code::Datetime,
                format!(
                    "{field} has an impossible date, time or offset (months are 01 to 12, hours 00 to 23, minutes and seconds 00 to 59)"
                ),
            ),
            Err(TimestampError::OutOfRange) => {
                (Code::DatetimeRange, format!("{field} must be in the years 0001 to 9999, in UTC"))
            }
        };
        self.fault(code, detail)?;
        Ok(None)
    }

    fn email_field(&mut self, field: Field, value: &Value<'a>) -> Result<Option<Email>, Stop> {
        let Some(text) = self.text_field(field, value, usize::MAX)? else {
            return Ok(None);
        };
        match Email::parse(&text) {
            Ok(email) => Ok(Some(email)),
            Err(error) => self.fault(Code::Email, format!("{field} is {error}")).map(|()| None),
        }
    }

    /// Checks and keeps a member of `metadata.processing`; unknown members are data.
    pub(super) fn processing_member(&mut self, key: usize, value: &Value<'a>) -> Result<(), Stop> {
        let word = match value {
            Value::Null => return Ok(()),
            Value::Text(text) => Some(text.decode()),
            _ => None,
        };
        let processing = &mut self.activity.processing;
        match (&*self.keys[key], word.as_deref()) {
            ("onDuplicate", Some("ignore")) => processing.on_duplicate = OnDuplicate::Ignore,
            ("onDuplicate", Some("replace")) => processing.on_duplicate = OnDuplicate::Replace,
            ("onDuplicate", _) => {
                return self
                    .fault(Code::Processing, "onDuplicate must be \"ignore\" or \"replace\"");
            }
            ("onUnknownMember", Some("retry")) => {
                processing.on_unknown_member = OnUnknownMember::Retry;
            }
            ("onUnknownMember", Some("creator")) => {
                processing.on_unknown_member = OnUnknownMember::Creator;
            }
            ("onUnknownMember", _) => {
                return self
                    .fault(Code::Processing, "onUnknownMember must be \"retry\" or \"creator\"");
            }
            _ => {}
        }
        Ok(())
    }
}
