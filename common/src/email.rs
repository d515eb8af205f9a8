//! E-mail addresses of members, folded once so that every comparison is of equal bytes.

use std::fmt;

/// The longest address, in bytes (RFC 5321, 4.5.3.1.3: a path of 256 with its two brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// A member's e-mail address: trimmed and lower-cased.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

/// The text is not an e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an e-mail address: it must look like name@example.com, in at most {EMAIL_BYTES_MAX} bytes"
)]
pub struct NotAnEmail;

impl Email {
    /// Folds and checks an address. Whether a mailbox exists is not this type's business.
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let folded = Self::folded(text);
        // Lower-casing can lengthen a text, so the bound is on what is kept.
        if folded.0.len() > EMAIL_BYTES_MAX {
            return Err(NotAnEmail);
        }
        let (local, domain) = folded.0.rsplit_once('@').ok_or(NotAnEmail)?;
        let clean = |part: &str| {
            !part.is_empty()
                && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control())
        };
        if clean(local) && clean(domain) { Ok(folded) } else { Err(NotAnEmail) }
    }

    /// Folds an address that was checked when it was accepted.
    pub fn folded(text: &str) -> Self {
        Self(text.trim().to_lowercase())
    }

    /// The folded address.
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
    fn an_address_is_folded_once_for_all_comparisons() {
        assert_eq!(Email::parse(" Jane.DOE@Example.COM "), Email::parse("jane.doe@example.com"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "jane", "@example.com", "jane@", "a b@example.com", "a@b@c", "a@b\u{7}"] {
            assert_eq!(Email::parse(text), Err(NotAnEmail), "{text:?}");
        }
        assert_eq!(
            Email::parse(&format!("{}@example.com", "a".repeat(EMAIL_BYTES_MAX))),
            Err(NotAnEmail)
        );
    }
}
