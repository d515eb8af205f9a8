//! The payload parser: one pass that checks every token and collects every fault.
//!
//! This module parses and applies the rules of all JSON values, `fields` applies the rules of the
//! activity's fields, `findings` collects faults and warnings.

mod fields;
mod findings;

use std::borrow::Cow;

use super::limits::{DEPTH_MAX, Limits};
use super::payload_error::{Code, Finding, PayloadError};
use super::{Activity, Handling, Parsed};
use crate::json::{
    NumberFault, Reader, SyntaxError, Text, TextFault, line_and_column, number_fault,
};
use crate::timestamp::Timestamp;

/// Up to this number of keys, pairwise comparison is faster than sorting.
const KEYS_COMPARED_PAIRWISE_MAX: usize = 16;

/// See [`Activity::parse`].
pub fn parse<'a>(
    body: &'a [u8],
    handling: Handling,
    limits: &Limits,
) -> Result<Parsed<'a>, PayloadError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        not_json(body, error.valid_up_to(), "this byte is not UTF-8: send the body as UTF-8".into())
    })?;
    let mut parser = Parser::new(text, handling, limits);
    match parser.payload() {
        Ok(()) => parser.finish(),
        Err(Stop::Syntax(error)) => {
            Err(not_json(body, error.at, format!("expected {}", error.expected).into()))
        }
        Err(Stop::NotAnObject) => Err(PayloadError::NotAnObject),
        Err(Stop::Enough) => Err(PayloadError::Faults(parser.faults)),
    }
}

fn not_json(body: &[u8], at: usize, detail: Cow<'static, str>) -> PayloadError {
    let (line, column) = line_and_column(body, at);
    PayloadError::NotJson { line, column, detail }
}

/// Reason to stop before the end of the payload.
enum Stop {
    Syntax(SyntaxError),
    NotAnObject,
    /// Too deep, or as many faults as a response lists.
    Enough,
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

/// The object that is being parsed. Members of other objects have no rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Activity,
    Metadata,
    Processing,
    Other,
}

enum Value<'a> {
    Null,
    Bool,
    Number,
    Text(Text<'a>),
    Array,
    Object(&'a str),
}

impl Value<'_> {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::Array => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// A step on the path from the payload to the current value.
enum Step {
    /// Into the member whose key has this index in `Parser::keys`.
    Key(usize),
    Index(usize),
}

struct Parser<'a, 'l> {
    reader: Reader<'a>,
    handling: Handling,
    limits: &'l Limits,
    /// The keys of all open objects; those of the innermost object are last.
    keys: Vec<Cow<'a, str>>,
    path: Vec<Step>,
    title: Option<Cow<'a, str>>,
    start_time: Option<Timestamp>,
    /// The optional fields; `finish` sets the required ones.
    activity: Activity<'a>,
    /// `true` even if the title is faulty, so that it is not reported as missing too.
    has_title: bool,
    has_start_time: bool,
    faults: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl<'a, 'l> Parser<'a, 'l> {
    fn new(text: &'a str, handling: Handling, limits: &'l Limits) -> Self {
        Self {
            reader: Reader::new(text),
            handling,
            limits,
            keys: Vec::with_capacity(16),
            path: Vec::with_capacity(4),
            title: None,
            start_time: None,
            activity: Activity::default(),
            has_title: false,
            has_start_time: false,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn payload(&mut self) -> Result<(), Stop> {
        let is_object = self.reader.peek() == b'{';
        self.value(Scope::Activity)?;
        self.reader.end()?;
        if is_object { Ok(()) } else { Err(Stop::NotAnObject) }
    }

    fn finish(mut self) -> Result<Parsed<'a>, PayloadError> {
        if !self.has_title {
            self.fault_at(
                "/title",
                Code::Required,
                "title is required: add a short, clear title for the activity",
            );
        }
        if !self.has_start_time {
            self.fault_at(
                "/startTime",
                Code::Required,
                "startTime is required: add the time at which the activity started, such as \"2024-08-03T11:30:00Z\"",
            );
        }
        if let (Some(start), Some(end)) = (self.start_time, self.activity.end_time)
            && end < start
        {
            self.fault_at(
                "/endTime",
                Code::EndBeforeStart,
                "endTime is before startTime: send an endTime that is the same or later",
            );
        }
        match (self.title, self.start_time) {
            (Some(title), Some(start_time)) if self.faults.is_empty() => {
                let activity = Activity { title, start_time, ..self.activity };
                Ok(Parsed { activity, warnings: self.warnings })
            }
            _ => Err(PayloadError::Faults(self.faults)),
        }
    }

    fn value(&mut self, scope: Scope) -> Result<Value<'a>, Stop> {
        Ok(match self.reader.peek() {
            b'{' => self.object(scope)?,
            b'[' => self.array()?,
            b'"' => Value::Text(self.text()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.reader.literal("true").map(|()| Value::Bool)?,
            b'f' => self.reader.literal("false").map(|()| Value::Bool)?,
            b'n' => self.reader.literal("null").map(|()| Value::Null)?,
            _ => return Err(self.reader.error("a value").into()),
        })
    }

    fn object(&mut self, scope: Scope) -> Result<Value<'a>, Stop> {
        let start = self.reader.at();
        let first_key = self.keys.len();
        self.check_depth()?;
        self.reader.require(b'{', "an object")?;
        if !self.reader.take(b'}') {
            loop {
                self.member(scope)?;
                if self.reader.take(b'}') {
                    break;
                }
                self.reader.require(b',', "a comma or a closing brace")?;
            }
        }
        self.check_keys_are_unique(first_key)?;
        self.keys.truncate(first_key);
        Ok(Value::Object(self.reader.since(start)))
    }

    fn member(&mut self, scope: Scope) -> Result<(), Stop> {
        if self.reader.peek() != b'"' {
            return Err(self.reader.error("a key in double quotes").into());
        }
        let key = self.reader.text()?;
        let at = self.keys.len();
        self.keys.push(key.decode());
        self.path.push(Step::Key(at));
        self.check_text(&key)?;
        self.reader.require(b':', "a colon after the key")?;
        let inner = match (scope, &*self.keys[at]) {
            (Scope::Activity, "metadata") => Scope::Metadata,
            (Scope::Metadata, "processing") => Scope::Processing,
            _ => Scope::Other,
        };
        let value = self.value(inner)?;
        match scope {
            Scope::Activity => self.activity_member(at, value)?,
            Scope::Processing => self.processing_member(at, &value)?,
            Scope::Metadata | Scope::Other => {}
        }
        self.path.pop();
        Ok(())
    }

    fn array(&mut self) -> Result<Value<'a>, Stop> {
        self.check_depth()?;
        self.reader.require(b'[', "an array")?;
        if self.reader.take(b']') {
            return Ok(Value::Array);
        }
        for index in 0.. {
            self.path.push(Step::Index(index));
            self.value(Scope::Other)?;
            self.path.pop();
            if self.reader.take(b']') {
                break;
            }
            self.reader.require(b',', "a comma or a closing bracket")?;
        }
        Ok(Value::Array)
    }

    fn text(&mut self) -> Result<Text<'a>, Stop> {
        let text = self.reader.text()?;
        self.check_text(&text)?;
        Ok(text)
    }

    fn number(&mut self) -> Result<Value<'a>, Stop> {
        let number = self.reader.number()?;
        match number_fault(number, self.limits.number_bytes_max) {
            None => {}
            Some(NumberFault::TooLong) => self.fault(
                Code::NumberTooLong,
                format!(
                    "this number has more than {} characters: send it as a string",
                    self.limits.number_bytes_max
                ),
            )?,
            Some(NumberFault::OutOfRange) => self.fault(
                Code::NumberRange,
                "this number is outside the range of a double (RFC 7493): send it as a string",
            )?,
        }
        Ok(Value::Number)
    }

    fn check_depth(&mut self) -> Result<(), Stop> {
        if self.path.len() < DEPTH_MAX {
            return Ok(());
        }
        self.fault(
            Code::TooDeep,
            format!(
                "nested deeper than {DEPTH_MAX} levels: flatten the data, or send it as a string"
            ),
        )?;
        Err(Stop::Enough)
    }

    fn check_text(&mut self, text: &Text<'a>) -> Result<(), Stop> {
        match text.fault() {
            None => Ok(()),
            Some(TextFault::Nul) => self.fault(
                Code::Nul,
                "this text contains a NUL character (\\u0000), which can't be stored: remove it",
            ),
            Some(TextFault::LoneSurrogate) => self.fault(
                Code::LoneSurrogate,
                "this text contains an unpaired surrogate, which is not a valid character: send the whole pair, or UTF-8",
            ),
        }
    }

    fn check_keys_are_unique(&mut self, first: usize) -> Result<(), Stop> {
        let keys = &mut self.keys[first..];
        let repeated: Vec<usize> = if keys.len() <= KEYS_COMPARED_PAIRWISE_MAX {
            (1..keys.len()).filter(|at| keys[..*at].contains(&keys[*at])).collect()
        } else {
            keys.sort_unstable();
            (1..keys.len()).filter(|at| keys[*at] == keys[at - 1]).collect()
        };
        for at in repeated {
            self.path.push(Step::Key(first + at));
            self.fault(
                Code::DuplicateName,
                "this key appears more than once in its object: send it once",
            )?;
            self.path.pop();
        }
        Ok(())
    }
}
