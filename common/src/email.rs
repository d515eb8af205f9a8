//! E-mail addresses of members, normalised once so that comparisons are byte by byte.

use std::fmt;

/// RFC 5321, 4.5.3.1.3: a path has at most 256 bytes, including its two brackets.
pub const EMAIL_BYTES_MAX: usize = 254;

/// A member's e-mail address: trimmed and lower-cased.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid e-mail address: it must look like name@example.com and have at most {EMAIL_BYTES_MAX} bytes"
)]
pub struct InvalidEmail;

impl Email {
    /// Normalises and checks an address. Does not check that the mailbox exists.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let email = Self::folded(text);
        // Lower-casing can lengthen a text, so the limit applies to the normalised address.
        if email.0.len() > EMAIL_BYTES_MAX {
            return Err(InvalidEmail);
        }
        let (local, domain) = email.0.rsplit_once('@').ok_or(InvalidEmail)?;
        let clean = |part: &str| {
            !part.is_empty()
                && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control())
        };
        if clean(local) && clean(domain) { Ok(email) } else { Err(InvalidEmail) }
    }

    /// Normalises an address without checking it, for addresses that were checked before.
    pub fn folded(text: &str) -> Self {
        Self(text.trim().to_lowercase())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_differ_in_case_and_outer_space_are_equal() {
        assert_eq!(Email::parse(" Jane.DOE@Example.COM "), Email::parse("jane.doe@example.com"));
    }

    #[test]
    fn an_invalid_address_is_rejected() {
        for text in ["", "jane", "@example.com", "jane@", "a b@example.com", "a@b@c", "a@b\u{7}"] {
            assert_eq!(Email::parse(text), Err(InvalidEmail), "{text:?}");
        }
        assert_eq!(
            Email::parse(&format!("{}@example.com", "a".repeat(EMAIL_BYTES_MAX))),
            Err(InvalidEmail)
        );
    }
}
