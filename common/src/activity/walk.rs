//! The one pass over a payload: every token is checked, every fault is gathered with its place.

use std::borrow::Cow;

use super::fault::{Code, Finding, Refusal};
use super::field::Field;
use super::limits::{DEPTH_MAX, FINDINGS_MAX, Limits};
use super::{Activity, Handling, OnDuplicate, OnUnknownMember, Parsed, Processing};
use crate::email::Email;
use crate::instant::{Instant, InstantFault};
use crate::json::{
    NumberFault, Reader, SyntaxError, Text, TextFault, line_and_column, number_fault,
};

/// Names in a pointer are cut to this, so that an answer can't be made to grow.
const POINTER_NAME_CHARS_MAX: usize = 64;
/// Up to this many names, comparing each with each is the fastest.
const NAMES_COMPARED_PAIRWISE_MAX: usize = 16;

/// Reads a payload; see [`Activity::parse`].
pub fn parse<'a>(
    body: &'a [u8],
    handling: Handling,
    limits: &Limits,
) -> Result<Parsed<'a>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| {
        not_json(body, error.valid_up_to(), "this byte is not UTF-8: send the body as UTF-8".into())
    })?;
    let mut walk = Walk::new(text, handling, limits);
    match walk.payload() {
        Ok(()) => walk.finish(),
        Err(Stop::Syntax(error)) => {
            Err(not_json(body, error.at, format!("expected {}", error.expected).into()))
        }
        Err(Stop::NotAnObject) => Err(Refusal::NotAnObject),
        Err(Stop::Enough) => Err(Refusal::Faults(walk.faults)),
    }
}

fn not_json(body: &[u8], at: usize, detail: Cow<'static, str>) -> Refusal {
    let (line, column) = line_and_column(body, at);
    Refusal::NotJson { line, column, detail }
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
    /// Into the member whose name is at this place of `Walk::names`.
    Name(usize),
    Index(usize),
}

/// The fields found so far.
#[derive(Default)]
struct Draft<'a> {
    title: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    start_time: Option<Instant>,
    end_time: Option<Instant>,
    trigger: Option<Cow<'a, str>>,
    event: Option<Cow<'a, str>>,
    member_email: Option<Email>,
    external_id: Option<Cow<'a, str>>,
    metadata: Option<&'a str>,
    processing: Processing,
}

struct Walk<'a, 'l> {
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

impl<'a, 'l> Walk<'a, 'l> {
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

    fn finish(mut self) -> Result<Parsed<'a>, Refusal> {
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
            return Err(Refusal::Faults(self.faults));
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

    // --- tokens ---

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

    // --- rules of every value ---

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

    // --- fields ---

    fn activity_member(&mut self, name: usize, value: Value<'a>) -> Result<(), Stop> {
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
                self.draft.start_time = self.instant_field("startTime", &value)?;
            }
            Field::EndTime => self.draft.end_time = self.instant_field("endTime", &value)?,
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

    fn instant_field(&mut self, name: &str, value: &Value<'a>) -> Result<Option<Instant>, Stop> {
        let Some(text) = self.text_field(name, value, self.limits.instant_bytes_max)? else {
            return Ok(None);
        };
        let (code, detail) = match Instant::parse(&text) {
            Ok(read) => {
                if !read.has_offset {
                    self.warn(Code::MissingOffset, format!("{name} has no offset and was read as UTC: add Z or an offset such as +02:00"));
                }
                return Ok(Some(read.instant));
            }
            Err(InstantFault::Syntax) => (
                Code::Datetime,
                format!(
                    "{name} must be an ISO 8601 date and time, such as \"2024-08-03T11:30:00Z\""
                ),
            ),
            Err(InstantFault::Impossible) => (
                Code::Datetime,
                format!(
                    "{name} names no possible date, time or offset (months are 01 to 12, hours 00 to 23, minutes and seconds 00 to 59)"
                ),
            ),
            Err(InstantFault::OutOfRange) => {
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

    fn processing_member(&mut self, name: usize, value: &Value<'a>) -> Result<(), Stop> {
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

    // --- findings ---

    fn wrong_type(&mut self, name: &str, wanted: &str, found: &Value<'a>) -> Result<(), Stop> {
        self.fault(Code::Type, format!("{name} must be {wanted}, not {}", found.type_name()))
    }

    fn fault(&mut self, code: Code, detail: impl Into<Cow<'static, str>>) -> Result<(), Stop> {
        let finding = Finding { pointer: self.pointer(), code, detail: detail.into() };
        self.faults.push(finding);
        if self.faults.len() < FINDINGS_MAX { Ok(()) } else { Err(Stop::Enough) }
    }

    fn warn(&mut self, code: Code, detail: impl Into<Cow<'static, str>>) {
        if self.warnings.len() < FINDINGS_MAX - 1 {
            let finding = Finding { pointer: self.pointer(), code, detail: detail.into() };
            self.warnings.push(finding);
        } else if self.warnings.len() < FINDINGS_MAX {
            let detail = "there is more of this kind than is listed here".into();
            self.warnings.push(Finding { pointer: String::new(), code: Code::More, detail });
        }
    }

    /// The JSON Pointer (RFC 6901) of the value being read.
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Index(index) => pointer.push_str(&index.to_string()),
                Step::Name(at) => {
                    let name = &self.names[*at];
                    for c in name.chars().take(POINTER_NAME_CHARS_MAX) {
                        match c {
                            '~' => pointer.push_str("~0"),
                            '/' => pointer.push_str("~1"),
                            other => pointer.push(other),
                        }
                    }
                    if name.chars().nth(POINTER_NAME_CHARS_MAX).is_some() {
                        pointer.push('…');
                    }
                }
            }
        }
        pointer
    }
}
