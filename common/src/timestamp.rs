//! Timestamps: parsed from ISO 8601, kept in microseconds, written as RFC 3339.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

/// A time in UTC with the precision of PostgreSQL's `timestamptz`: microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampError {
    /// Not an ISO 8601 calendar date with a time of day.
    Syntax,
    /// The form is valid, but no such date, time or offset exists.
    Impossible,
    /// Outside the years 0001 to 9999, in UTC.
    OutOfRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedTimestamp {
    /// Truncated to the microsecond.
    pub timestamp: Timestamp,
    /// `true` if the text has an offset or `Z`; a text without is read as UTC.
    pub has_offset: bool,
}

/// 0001-01-01T00:00:00Z.
const UNIX_MICROS_MIN: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const UNIX_MICROS_MAX: i64 = 253_402_300_799_999_999;

impl Timestamp {
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// Converts microseconds since 1970-01-01T00:00:00Z, clamped to the years 0001 to 9999.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.clamp(UNIX_MICROS_MIN, UNIX_MICROS_MAX))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Seconds from `earlier` to `self`; 0 if `earlier` is later, because two clocks can disagree.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0.saturating_sub(earlier.0)).max(0) as f64 / 1e6
    }

    /// Parses an ISO 8601 calendar date and time, extended (`2024-08-03T11:30:00Z`) or basic
    /// (`20240803T113000Z`). Seconds, their fraction and the offset are optional. An offset is `Z`,
    /// `±hh`, `±hhmm` or `±hh:mm`.
    pub fn parse(text: &str) -> Result<ParsedTimestamp, TimestampError> {
        let mut reader = Reader(text.as_bytes());
        let date = reader.date()?;
        let time_micros = reader.time_of_day_micros()?;
        let offset_minutes = reader.offset_minutes()?;
        if !reader.0.is_empty() {
            return Err(TimestampError::Syntax);
        }
        let midnight = date.and_then(|date| date.and_hms_opt(0, 0, 0));
        let midnight = midnight.ok_or(TimestampError::Impossible)?.and_utc();
        let micros = midnight.timestamp_micros() + time_micros
            - i64::from(offset_minutes.unwrap_or(0)) * 60_000_000;
        if !(UNIX_MICROS_MIN..=UNIX_MICROS_MAX).contains(&micros) {
            return Err(TimestampError::OutOfRange);
        }
        Ok(ParsedTimestamp { timestamp: Self(micros), has_offset: offset_minutes.is_some() })
    }
}

/// Saturates at the end of the year 9999.
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_unix_micros(self.0.saturating_add(micros(duration)))
    }
}

/// Saturates at the start of the year 1.
impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_unix_micros(self.0.saturating_sub(micros(duration)))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_datetime().format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self::from_unix_micros(at.timestamp_micros())
    }
}

/// The rest of the text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// `None` if the form is valid but no such day exists.
    fn date(&mut self) -> Result<Option<NaiveDate>, TimestampError> {
        let year = self.digits(4)?;
        let extended = self.take(b"-");
        let month = self.digits(2)?;
        if extended && !self.take(b"-") {
            return Err(TimestampError::Syntax);
        }
        let day = self.digits(2)?;
        Ok(NaiveDate::from_ymd_opt(year.cast_signed(), month, day))
    }

    fn time_of_day_micros(&mut self) -> Result<i64, TimestampError> {
        // RFC 3339 (5.6) also allows `t` and a space in place of the `T` of ISO 8601.
        if !(self.take(b"T") || self.take(b"t") || self.take(b" ")) {
            return Err(TimestampError::Syntax);
        }
        let hour = self.digits(2)?;
        let extended = self.take(b":");
        let minute = self.digits(2)?;
        let has_seconds =
            if extended { self.take(b":") } else { self.0.first().is_some_and(u8::is_ascii_digit) };
        let second = if has_seconds { self.digits(2)? } else { 0 };
        let fraction_micros = if has_seconds { self.fraction_micros()? } else { 0 };
        // `24:00` and `:60` are rejected: no store engine would return them as they were sent.
        if hour > 23 || minute > 59 || second > 59 {
            return Err(TimestampError::Impossible);
        }
        Ok(i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000 + i64::from(fraction_micros))
    }

    /// Truncates. PostgreSQL would round, and rounding can move an end before its start.
    fn fraction_micros(&mut self) -> Result<u32, TimestampError> {
        if !(self.take(b".") || self.take(b",")) {
            return Ok(0);
        }
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(TimestampError::Syntax);
        }
        let micros = (0..6).fold(0, |sum, place| {
            sum * 10 + if place < digits { u32::from(self.0[place] - b'0') } else { 0 }
        });
        self.0 = &self.0[digits..];
        Ok(micros)
    }

    fn offset_minutes(&mut self) -> Result<Option<i32>, TimestampError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        if self.take(b"Z") || self.take(b"z") {
            return Ok(Some(0));
        }
        let sign = if self.take(b"+") {
            1
        } else if self.take(b"-") {
            -1
        } else {
            return Err(TimestampError::Syntax);
        };
        let hours = self.digits(2)?;
        let minutes = if self.take(b":") || !self.0.is_empty() { self.digits(2)? } else { 0 };
        if hours > 23 || minutes > 59 {
            return Err(TimestampError::Impossible);
        }
        Ok(Some(sign * (hours * 60 + minutes).cast_signed()))
    }

    fn digits(&mut self, count: usize) -> Result<u32, TimestampError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(TimestampError::Syntax)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return Err(TimestampError::Syntax);
        }
        self.0 = rest;
        Ok(head.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    fn take(&mut self, prefix: &[u8]) -> bool {
        match self.0.strip_prefix(prefix) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> String {
        Timestamp::parse(text).expect(text).timestamp.to_string()
    }

    #[test]
    fn every_form_of_a_calendar_date_and_time_is_parsed() {
        for text in [
            "2024-08-03T11:30:00Z",
            "2024-08-03t11:30:00z",
            "2024-08-03 11:30:00Z",
            "2024-08-03T11:30Z",
            "2024-08-03T11:30:00.000000Z",
            "2024-08-03T13:30:00+02:00",
            "2024-08-03T13:30:00+0200",
            "2024-08-03T13:30:00+02",
            "2024-08-03T11:30:00-00:00",
            "20240803T113000Z",
            "20240803T1130Z",
            "2024-08-03T11:30:00,0Z",
        ] {
            assert_eq!(utc(text), "2024-08-03T11:30:00.000000Z", "{text}");
        }
    }

    #[test]
    fn a_missing_offset_means_utc_and_is_reported() {
        let parsed = Timestamp::parse("2024-08-03T11:30:00").expect("the text should be valid");
        assert!(!parsed.has_offset);
        assert_eq!(parsed.timestamp.to_string(), "2024-08-03T11:30:00.000000Z");
    }

    #[test]
    fn a_fraction_is_truncated_to_the_microsecond_and_not_rounded() {
        assert_eq!(utc("2024-08-03T11:30:00.9999999Z"), "2024-08-03T11:30:00.999999Z");
        assert_eq!(utc("1969-12-31T23:59:59.9999999Z"), "1969-12-31T23:59:59.999999Z");
        assert_eq!(utc("2024-08-03T11:30:00.5Z"), "2024-08-03T11:30:00.500000Z");
    }

    #[test]
    fn an_invalid_date_and_time_is_rejected() {
        use TimestampError::{Impossible, OutOfRange, Syntax};
        for (text, error) in [
            ("", Syntax),
            ("yesterday", Syntax),
            ("2024-08-03", Syntax),
            ("2024-W31-6T11:30:00Z", Syntax),
            ("1722684600", Syntax),
            ("2024-08-03T11:30:00 Z", Syntax),
            ("2024-08-03T11:30:00.Z", Syntax),
            ("2024-08-03T11:30:00Zjunk", Syntax),
            ("2024-0803T11:30:00Z", Syntax),
            ("+02024-08-03T11:30:00Z", Syntax),
            ("2024-02-30T11:30:00Z", Impossible),
            ("2024-13-01T11:30:00Z", Impossible),
            ("2024-08-03T24:00:00Z", Impossible),
            ("2024-08-03T23:59:60Z", Impossible),
            ("2024-08-03T11:30:00+24:00", Impossible),
            ("0000-12-31T23:59:59Z", OutOfRange),
            ("0001-01-01T00:00:00+00:01", OutOfRange),
            ("9999-12-31T23:59:59-00:01", OutOfRange),
        ] {
            assert_eq!(Timestamp::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_parsed_and_written_unchanged() {
        for text in ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(utc(text), text);
        }
    }
}
