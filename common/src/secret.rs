//! Secrets of links and sessions: random, shown once, stored as a hash alone.

use std::fmt;

use crate::token::{SecretHash, random_base62};

/// 43 characters of 62: 256 random bits.
const LEN: usize = 43;

/// A newly made secret, the only time its text is known.
pub struct NewSecret {
    text: String,
    /// What is stored of it.
    pub hash: SecretHash,
}

impl NewSecret {
    /// A random one.
    pub fn generate() -> Self {
        let text: String = random_base62::<LEN>().iter().map(|byte| char::from(*byte)).collect();
        let hash = SecretHash::of(&text);
        Self { text, hash }
    }

    /// Its text, for the one it is for.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_shown_by_nothing() {
        let (one, other) = (NewSecret::generate(), NewSecret::generate());
        assert!(SecretHash::of(one.reveal()).matches(&one.hash));
        assert!(!one.hash.matches(&other.hash));
        assert!(!format!("{one:?}").contains(&one.reveal()[..8]));
    }
}
