//! The one pass over a payload: every token is checked, every fault is gathered with its place.
//!
//! Here is the walk itself and the rules of every value; `fields` has the rules of the activity's
//! own fields, `findings` gathers what is wrong.

mod fields;
mod findings;

use std::borrow::Cow;

use super::limits::{DEPTH_MAX, Limits};
use super::payload_error::{Code, Finding, PayloadError};
use super::{Activity, Handling, Parsed, Processing};
use crate::email::Email;
use crate::json::{
    NumberFault, Reader, SyntaxError, Text, TextFault, line_and_column, number_fault,
};
use crate::timestamp::Timestamp;

/// Up to this many names, comparing each with each is the fastest.
const NAMES_COMPARED_PAIRWISE_MAX: usize = 16;

/// Reads a payload; see [`Activity::parse`].
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

/// Why a walk ended early.
enum Stop {
    Syntax(SyntaxError),
    NotAnObject,
    /// There is nothing to gain from reading on: too deep, or more faults than are told.
    Enough,
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

/// Which object's members are being read: only three have members with a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Activity,
    Metadata,
    Processing,
    Elsewhere,
}

/// A value as far as a field needs to know it.
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

/// A step from the payload to the value being read.
enum Step {
    /// Into the member whose name is at this place of `Parser::names`.
    Name(usize),
    Index(usize),
}

/// The fields found so far.
#[derive(Default)]
struct Draft<'a> {
    title: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    trigger: Option<Cow<'a, str>>,
    event: Option<Cow<'a, str>>,
    member_email: Option<Email>,
    external_id: Option<Cow<'a, str>>,
    metadata: Option<&'a str>,
    processing: Processing,
}

struct Parser<'a, 'l> {
    reader: Reader<'a>,
    handling: Handling,
    limits: &'l Limits,
    /// The names of all open objects, the innermost object's last.
    names: Vec<Cow<'a, str>>,
    path: Vec<Step>,
    draft: Draft<'a>,
    /// A required field that is there but faulty is not missing too.
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
            names: Vec::with_capacity(16),
            path: Vec::with_capacity(4),
            draft: Draft::default(),
            has_title: false,
            has_start_time: false,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn payload(&mut self) -> Result<(), Stop> {
        let is_object = self.reader.peek() == b'{';
        self.value(Place::Activity)?;
        self.reader.end()?;
        if is_object { Ok(()) } else { Err(Stop::NotAnObject) }
    }

    fn finish(mut self) -> Result<Parsed<'a>, PayloadError> {
        let draft = std::mem::take(&mut self.draft);
        if !self.has_title {
            self.missing("/title", "title is required: add a short, clear title for the activity");
        }
        if !self.has_start_time {
            self.missing("/startTime", "startTime is required: add when the activity started, such as \"2024-08-03T11:30:00Z\"");
        }
        if let (Some(start), Some(end)) = (draft.start_time, draft.end_time)
            && end < start
        {
            let detail =
                "endTime is before startTime: send an endTime that is the same or later".into();
            self.faults.push(Finding {
                pointer: "/endTime".into(),
                code: Code::EndBeforeStart,
                detail,
            });
        }
        let (Some(title), Some(start_time), true) =
            (draft.title, draft.start_time, self.faults.is_empty())
        else {
            return Err(PayloadError::Faults(self.faults));
        };
        let activity = Activity {
            title,
            description: draft.description,
            start_time,
            end_time: draft.end_time,
            trigger: draft.trigger,
            event: draft.event,
            member_email: draft.member_email,
            external_id: draft.external_id,
            metadata: draft.metadata,
            processing: draft.processing,
        };
        Ok(Parsed { activity, warnings: self.warnings })
    }

    fn missing(&mut self, pointer: &str, detail: &'static str) {
        self.faults.push(Finding {
            pointer: pointer.into(),
            code: Code::Required,
            detail: detail.into(),
        });
    }

    fn value(&mut self, place: Place) -> Result<Value<'a>, Stop> {
        Ok(match self.reader.peek() {
            b'{' => self.object(place)?,
            b'[' => self.array()?,
            b'"' => Value::Text(self.text()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.reader.literal("true").map(|()| Value::Bool)?,
            b'f' => self.reader.literal("false").map(|()| Value::Bool)?,
            b'n' => self.reader.literal("null").map(|()| Value::Null)?,
            _ => return Err(self.reader.error("a value").into()),
        })
    }

    fn object(&mut self, place: Place) -> Result<Value<'a>, Stop> {
        let start = self.reader.at();
        let first_name = self.names.len();
        self.check_depth()?;
        self.reader.require(b'{', "an object")?;
        if !self.reader.take(b'}') {
            loop {
                self.member(place)?;
                if self.reader.take(b'}') {
                    break;
                }
                self.reader.require(b',', "a comma or a closing brace")?;
            }
        }
        self.check_names_are_unique(first_name)?;
        self.names.truncate(first_name);
        Ok(Value::Object(self.reader.since(start)))
    }

    fn member(&mut self, place: Place) -> Result<(), Stop> {
        if self.reader.peek() != b'"' {
            return Err(self.reader.error("a name in double quotes").into());
        }
        let name = self.reader.text()?;
        let at = self.names.len();
        self.names.push(name.decode());
        self.path.push(Step::Name(at));
        self.check_text(&name)?;
        self.reader.require(b':', "a colon after the name")?;
        let inner = match (place, &*self.names[at]) {
            (Place::Activity, "metadata") => Place::Metadata,
            (Place::Metadata, "processing") => Place::Processing,
            _ => Place::Elsewhere,
        };
        let value = self.value(inner)?;
        match place {
            Place::Activity => self.activity_member(at, value)?,
            Place::Processing => self.processing_member(at, &value)?,
            Place::Metadata | Place::Elsewhere => {}
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
            self.value(Place::Elsewhere)?;
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
                "this number does not fit a double (RFC 7493): send it as a string",
            )?,
        }
        Ok(Value::Number)
    }

    // The rules of every value.

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
            Some(TextFault::Nul) => self.fault(Code::Nul, "this text has a NUL character (\\u0000), which can't be stored: leave it out"),
            Some(TextFault::LoneSurrogate) => self.fault(Code::LoneSurrogate, "this text has half of a surrogate pair, which is no character: send the whole pair, or UTF-8"),
        }
    }

    fn check_names_are_unique(&mut self, first: usize) -> Result<(), Stop> {
        let names = &mut self.names[first..];
        let repeated: Vec<usize> = if names.len() <= NAMES_COMPARED_PAIRWISE_MAX {
            (1..names.len()).filter(|at| names[..*at].contains(&names[*at])).collect()
        } else {
            names.sort_unstable();
            (1..names.len()).filter(|at| names[*at] == names[at - 1]).collect()
        };
        for at in repeated {
            self.path.push(Step::Name(first + at));
            self.fault(
                Code::DuplicateName,
                "this name stands more than once in its object: send it once",
            )?;
            self.path.pop();
        }
        Ok(())
    }
}
