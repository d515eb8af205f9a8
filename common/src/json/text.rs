//! Strings: checked when they are read, decoded only if a caller needs the characters.

use std::borrow::Cow;

use super::SyntaxError;

#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The text between the quotes.
    raw: &'a str,
    has_escape: bool,
    fault: Option<TextFault>,
}

/// A rule that a syntactically valid string breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// Contains U+0000, which PostgreSQL's `text` can't hold.
    Nul,
    /// Contains an unpaired surrogate, which is not a character (RFC 7493, 2.1).
    LoneSurrogate,
}

impl<'a> Text<'a> {
    pub fn fault(&self) -> Option<TextFault> {
        self.fault
    }

    /// Decodes the escapes. An unpaired surrogate becomes U+FFFD.
    pub fn decode(&self) -> Cow<'a, str> {
        if self.has_escape { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

/// Reads the string whose opening quote is at `start`. Returns it and the offset after it.
pub(super) fn read(text: &str, start: usize) -> Result<(Text<'_>, usize), SyntaxError> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    let mut has_escape = false;
    let mut fault = None;
    loop {
        at += plain_len(&bytes[at..]);
        match bytes.get(at) {
            Some(b'"') => {
                return Ok((Text { raw: &text[start + 1..at], has_escape, fault }, at + 1));
            }
            Some(b'\\') => {
                has_escape = true;
                let escape = escape_at(bytes, at)?;
                fault = fault.or(escape.fault());
                at += escape.len();
            }
            Some(_) => {
                return Err(SyntaxError {
                    at,
                    expected: "an escape such as \\n in place of a control character",
                });
            }
            None => return Err(SyntaxError { at, expected: "the string's closing quote" }),
        }
    }
}

/// Number of leading bytes that need no decoding.
fn plain_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len())
}

enum Escape {
    /// Such as `\n`.
    Short(char),
    /// `\uXXXX`; `None` for an unpaired surrogate.
    Unit(Option<char>),
    /// `\uXXXX\uXXXX`, a surrogate pair.
    Pair(char),
}

impl Escape {
    fn len(&self) -> usize {
        match self {
            Self::Short(_) => 2,
            Self::Unit(_) => 6,
            Self::Pair(_) => 12,
        }
    }

    fn fault(&self) -> Option<TextFault> {
        match self {
            Self::Unit(None) => Some(TextFault::LoneSurrogate),
            Self::Unit(Some('\0')) => Some(TextFault::Nul),
            Self::Short(_) | Self::Unit(Some(_)) | Self::Pair(_) => None,
        }
    }

    fn character(&self) -> char {
        match self {
            Self::Short(c) | Self::Pair(c) | Self::Unit(Some(c)) => *c,
            Self::Unit(None) => char::REPLACEMENT_CHARACTER,
        }
    }
}

/// Reads the escape whose backslash is at `at`.
fn escape_at(bytes: &[u8], at: usize) -> Result<Escape, SyntaxError> {
    let short = match bytes.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes, at),
        _ => {
            return Err(SyntaxError {
                at: at + 1,
                expected: "one of \" \\ / b f n r t u after a backslash",
            });
        }
    };
    Ok(Escape::Short(short))
}

fn unicode_escape(bytes: &[u8], at: usize) -> Result<Escape, SyntaxError> {
    let unit = code_unit(bytes, at + 2)
        .ok_or(SyntaxError { at: at + 2, expected: "four hexadecimal digits after \\u" })?;
    if let Some(character) = char::from_u32(unit) {
        return Ok(Escape::Unit(Some(character)));
    }
    let is_high = (0xd800..0xdc00).contains(&unit);
    if is_high && bytes.get(at + 6..at + 8) == Some(b"\\u") {
        let low = code_unit(bytes, at + 8).filter(|low| (0xdc00..0xe000).contains(low));
        if let Some(low) = low {
            let scalar = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return Ok(Escape::Pair(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
    }
    Ok(Escape::Unit(None))
}

fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .iter()
        .try_fold(0, |unit, byte| Some(unit * 16 + char::from(*byte).to_digit(16)?))
}

/// Decodes a string whose escapes are known to be valid.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let Ok(escape) = escape_at(rest.as_bytes(), at) else { break };
        out.push(escape.character());
        rest = &rest[at + escape.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Text<'_> {
        read(json, 0).expect(json).0
    }

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(text(r#""plain é 🦀""#).decode(), Cow::Borrowed("plain é 🦀")));
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(
            text(r#""\"\\\/\b\f\n\r\té\uD83E\uDD80x""#).decode(),
            "\"\\/\u{8}\u{c}\n\r\té🦀x"
        );
    }

    #[test]
    fn characters_that_postgresql_can_not_hold_are_faults() {
        assert_eq!(text(r#""a\u0000b""#).fault(), Some(TextFault::Nul));
        for lone in
            [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\ud800""#, r#""\ud83e\u0041""#]
        {
            assert_eq!(text(lone).fault(), Some(TextFault::LoneSurrogate), "{lone}");
        }
        assert_eq!(text(r#""\ud83e\udd80""#).fault(), None);
    }

    #[test]
    fn an_invalid_string_is_an_error_with_its_position() {
        for (json, at) in
            [(r#""abc"#, 4), (r#""a\x""#, 3), (r#""\u12g4""#, 3), ("\"a\nb\"", 2), (r#""\"#, 2)]
        {
            assert_eq!(read(json, 0).expect_err(json).at, at, "{json}");
        }
    }
}
