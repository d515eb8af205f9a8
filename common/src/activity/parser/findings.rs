//! Collects faults and warnings with their JSON Pointers.

use std::borrow::Cow;

use super::{Parser, Step, Stop, Value};
use crate::activity::field::Field;
use crate::activity::limits::FINDINGS_MAX;
use crate::activity::payload_error::{Code, Finding};

/// Longer keys are cut in a pointer, so that a sender can't inflate the response.
const POINTER_KEY_CHARS_MAX: usize = 64;

impl Parser<'_, '_> {
    pub(super) fn wrong_type(
        &mut self,
        field: Field,
        wanted: &str,
        found: &Value<'_>,
    ) -> Result<(), Stop> {
        self.fault(Code::Type, format!("{field} must be {wanted}, not {}", found.type_name()))
    }

    /// Adds a fault at the current value. Fails once enough faults are collected.
    pub(super) fn fault(
        &mut self,
        code: Code,
        detail: impl Into<Cow<'static, str>>,
    ) -> Result<(), Stop> {
        let finding = Finding { pointer: self.pointer(), code, detail: detail.into() };
        self.faults.push(finding);
        if self.faults.len() < FINDINGS_MAX { Ok(()) } else { Err(Stop::Enough) }
    }

    /// Adds a fault of the whole activity.
    pub(super) fn fault_at(&mut self, pointer: &str, code: Code, detail: &'static str) {
        let finding = Finding { pointer: pointer.into(), code, detail: detail.into() };
        self.faults.push(finding);
    }

    pub(super) fn warn(&mut self, code: Code, detail: impl Into<Cow<'static, str>>) {
        if self.warnings.len() < FINDINGS_MAX - 1 {
            let finding = Finding { pointer: self.pointer(), code, detail: detail.into() };
            self.warnings.push(finding);
        } else if self.warnings.len() < FINDINGS_MAX {
            let detail = "there are more warnings than are listed here".into();
            self.warnings.push(Finding { pointer: String::new(), code: Code::More, detail });
        }
    }

    /// The JSON Pointer (RFC 6901) of the current value.
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Index(index) => pointer.push_str(&index.to_string()),
                Step::Key(at) => {
                    let key = &self.keys[*at];
                    for c in key.chars().take(POINTER_KEY_CHARS_MAX) {
                        match c {
                            '~' => pointer.push_str("~0"),
                            '/' => pointer.push_str("~1"),
                            other => pointer.push(other),
                        }
                    }
                    if key.chars().nth(POINTER_KEY_CHARS_MAX).is_some() {
                        pointer.push('…');
                    }
                }
            }
        }
        pointer
    }
}
