//! A reader of JSON text (RFC 8259) that borrows: it knows tokens and where they stand, and
//! nothing of activities.
//!
//! Written here because a payload is walked once, borrowing, with every fault that PostgreSQL
//! would stumble over found in that pass; no library reports lone surrogates, NUL, repeated names
//! and number ranges together, with their places. A property test holds it to `serde_json`.

mod number;
mod text;

pub use number::{NumberFault, number_fault};
pub use text::{Text, TextFault};

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The byte at which it stops being JSON.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// Reads tokens from the front of a text.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte the reader is at.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What was read since byte `start`.
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Skips white space and shows the next byte, or 0 at the end (a NUL is no JSON either).
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Takes `byte` after white space, if it is there.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Takes `byte` after white space, or fails with what was expected.
    pub fn require(&mut self, byte: u8, expected: &'static str) -> Result<(), SyntaxError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(expected)) }
    }

    /// Takes `true`, `false` or `null`.
    pub fn literal(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a string; the reader is at its opening quote.
    pub fn text(&mut self) -> Result<Text<'a>, SyntaxError> {
        let (text, end) = text::read(self.text, self.at)?;
        self.at = end;
        Ok(text)
    }

    /// Takes a number and gives its text.
    pub fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        self.at = number::read(self.text.as_bytes(), start)?;
        Ok(self.since(start))
    }

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err(self.error("nothing after the value")) }
    }

    /// An error at the byte the reader is at.
    pub fn error(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, expected }
    }
}

/// Line and column, both from 1 and the column in characters, of byte `at`.
pub fn line_and_column(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start =
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}
