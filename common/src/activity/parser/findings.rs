//! Gathering what is wrong, with its place.

use std::borrow::Cow;

use super::{Parser, Step, Stop, Value};
use crate::activity::limits::FINDINGS_MAX;
use crate::activity::payload_error::{Code, Finding};

/// Names in a pointer are cut to this, so that an answer can't be made to grow.
const POINTER_NAME_CHARS_MAX: usize = 64;

impl Parser<'_, '_> {
    pub(super) fn wrong_type(
        &mut self,
        name: &str,
        wanted: &str,
        found: &Value<'_>,
    ) -> Result<(), Stop> {
        self.fault(Code::Type, format!("{name} must be {wanted}, not {}", found.type_name()))
    }

    pub(super) fn fault(
        &mut self,
        code: Code,
        detail: impl Into<Cow<'static, str>>,
    ) -> Result<(), Stop> {
        let finding = Finding { pointer: self.pointer(), code, detail: detail.into() };
        self.faults.push(finding);
        if self.faults.len() < FINDINGS_MAX { Ok(()) } else { Err(Stop::Enough) }
    }

    pub(super) fn warn(&mut self, code: Code, detail: impl Into<Cow<'static, str>>) {
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
