//! Passwords: argon2id with the parameters that OWASP recommends (19 MiB, two passes), which are the
//! library's defaults.

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use tokio::sync::Semaphore;

use crate::error::PageError;

/// Limits concurrent hashing: each hash takes a core for some 20 ms, and 19 MiB.
static HASHING_PERMITS: Semaphore = Semaphore::const_new(2);
/// Verified against if no member has the address, so that the response time does not reveal that.
static DUMMY_HASH: LazyLock<String> = LazyLock::new(|| hash_now("nobody").unwrap_or_default());

const PANICKED: &str = "hashing a password panicked";
const CHARS_MIN: usize = 12;
const BYTES_MAX: usize = 256;

/// Reason that a password is not acceptable; `None` if it is.
pub fn fault(password: &str) -> Option<&'static str> {
    if password.chars().count() < CHARS_MIN {
        return Some("A password has at least 12 characters: a few words make a good one.");
    }
    (password.len() > BYTES_MAX).then_some("A password has at most 256 characters.")
}

/// Hashes a password. Returns a PHC string.
pub async fn hash(password: String) -> Result<String, PageError> {
    run(move || hash_now(&password))
        .await?
        .ok_or(PageError::Internal("a password could not be hashed"))
}

/// Index of the first hash that the password matches. An empty list takes as long as one hash.
pub async fn first_match(
    password: String,
    hashes: Vec<String>,
) -> Result<Option<usize>, PageError> {
    run(move || {
        if password.len() > BYTES_MAX {
            return None;
        }
        if hashes.is_empty() {
            verify(&password, &DUMMY_HASH);
        }
        hashes.iter().position(|hash| verify(&password, hash))
    })
    .await
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PageError> {
    let _permit = HASHING_PERMITS.acquire().await.map_err(|_| PageError::Internal(PANICKED))?;
    tokio::task::spawn_blocking(work).await.map_err(|_| PageError::Internal(PANICKED))
}

fn hash_now(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other() {
        let one = hash("correct horse battery".into()).await.expect("hashing should succeed");
        let other = hash("correct horse battery".into()).await.expect("hashing should succeed");
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other, "each hash should have its own salt");
        let another = hash("another password".into()).await.expect("hashing should succeed");
        let hashes = vec![another, one];
        let matched = async |text: &str, hashes: &[String]| {
            first_match(text.into(), hashes.to_vec()).await.expect("verifying should run")
        };
        assert_eq!(matched("correct horse battery", &hashes).await, Some(1));
        assert_eq!(matched("wrong", &hashes).await, None);
        assert_eq!(matched("x", &[]).await, None);
    }
}
