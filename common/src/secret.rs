//! Secrets of links and sessions: random, shown once, stored only as a hash.

use std::fmt;

use rand::RngExt;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(crate) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 base-62 characters carry 256 random bits.
const LEN: usize = 43;

/// A new secret. This is the only value that holds its text; the store gets `hash`.
pub struct NewSecret {
    text: String,
    pub hash: SecretHash,
}

impl NewSecret {
    pub fn generate() -> Self {
        let text: String = random_base62::<LEN>().iter().map(|byte| char::from(*byte)).collect();
        let hash = SecretHash::of(&text);
        Self { text, hash }
    }

    /// Returns the secret itself: show it only to its owner.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// The SHA-256 of a secret; the store holds nothing else of it. The secret has 256 random bits, so
/// a salt or a slow hash would add nothing.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// `None` if `bytes` does not have 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares in constant time, so that the duration reveals nothing about the stored hash.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret(…)")
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

pub(crate) fn random_base62<const N: usize>() -> [u8; N] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| BASE62[rng.random_range(0..BASE62.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_its_hash_and_is_not_in_debug_output() {
        let one = NewSecret::generate();
        let other = NewSecret::generate();
        assert!(SecretHash::of(one.reveal()).matches(&one.hash));
        assert!(!one.hash.matches(&other.hash));
        assert!(!format!("{one:?}").contains(&one.reveal()[..8]));
    }
}
