//! A borrowing tokenizer for JSON (RFC 8259). Independent of the activity's rules.
//!
//! A payload is parsed in one pass without copies, and that pass must report every value that
//! PostgreSQL can't store. No library reports unpaired surrogates, NUL characters, repeated keys
//! and numbers out of range together, with their positions. A property test compares the results
//! with `serde_json`.

mod number;
mod text;

pub use number::{NumberFault, number_fault};
pub use text::{Text, TextFault};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Offset of the first byte that is not valid JSON.
    pub at: usize,
    /// Description of the expected token.
    pub expected: &'static str,
}

pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Offset of the next byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text from offset `start` to the current position.
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Skips white space and returns the next byte without consuming it. Returns 0 at the end; a
    /// NUL byte is not valid JSON either.
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Skips white space and consumes `byte` if it is next. Returns `true` if it was.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Skips white space and consumes `byte`; fails if another byte is next.
    pub fn require(&mut self, byte: u8, expected: &'static str) -> Result<(), SyntaxError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(expected)) }
    }

    /// Consumes `true`, `false` or `null`.
    pub fn literal(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Consumes a string. The next byte must be its opening quote.
    pub fn text(&mut self) -> Result<Text<'a>, SyntaxError> {
        let (text, end) = text::read(self.text, self.at)?;
        self.at = end;
        Ok(text)
    }

    /// Consumes a number and returns its text.
    pub fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        self.at = number::read(self.text.as_bytes(), start)?;
        Ok(self.since(start))
    }

    /// Fails if anything but white space is left.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err(self.error("nothing after the value")) }
    }

    /// An error at the current position.
    pub fn error(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, expected }
    }
}

/// Converts a byte offset to line and column, both from 1; the column counts characters.
pub fn line_and_column(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start =
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}
