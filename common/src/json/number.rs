//! The grammar of numbers, and the check against the range of a double.

use super::SyntaxError;

/// A rule that a syntactically valid number breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    TooLong,
    /// Too large for a double, or not zero but rounded to zero (RFC 7493, 2.2).
    OutOfRange,
}

/// Returns the end of the number that starts at `start`.
pub(super) fn read(bytes: &[u8], start: usize) -> Result<usize, SyntaxError> {
    let digits = |from: usize| {
        let count = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            Err(SyntaxError { at: from, expected: "a digit" })
        } else {
            Ok(from + count)
        }
    };
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    // No leading zeros: a 0 ends the integer part.
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Ok(at)
}

/// Checks a syntactically valid number.
pub fn number_fault(number: &str, bytes_max: usize) -> Option<NumberFault> {
    if number.len() > bytes_max {
        return Some(NumberFault::TooLong);
    }
    // 300 digits without an exponent are below 1e308, and their smallest fraction is above 1e-307.
    // Only an exponent or more digits can leave the range of a double.
    if number.len() <= 300 && !number.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        return None;
    }
    let value: f64 = number.parse().unwrap_or(f64::INFINITY);
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (!value.is_finite() || (value == 0.0 && !is_zero)).then_some(NumberFault::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_double_can_not_hold_is_out_of_range() {
        let fault = |number| number_fault(number, 64);
        for number in ["1e309", "-1e309", "1e131000", "1E+400", "1e-400", "0.1e-999"] {
            assert_eq!(fault(number), Some(NumberFault::OutOfRange), "{number}");
        }
        for number in
            ["0", "-0", "0e999", "0.0e-999", "1e308", "5e-324", "123456789012345678901234567890"]
        {
            assert_eq!(fault(number), None, "{number}");
        }
    }

    #[test]
    fn the_length_of_a_number_is_limited() {
        assert_eq!(number_fault(&"9".repeat(64), 64), None);
        assert_eq!(number_fault(&"9".repeat(65), 64), Some(NumberFault::TooLong));
        assert_eq!(number_fault(&"9".repeat(400), usize::MAX), Some(NumberFault::OutOfRange));
    }
}
