//! Tokens: the secret part of a webhook's URL.
//!
//! A token is `tpw_<public id>_<secret><checksum>`. The public id is the look-up key, and the only
//! part that people see later. The store holds only a hash of the secret. The checksum rejects
//! garbage and typing errors without a look-up.

use std::fmt;

use crate::secret::{BASE62, SecretHash, random_base62};

const PREFIX: &str = "tpw";
const PUBLIC_ID_LEN: usize = 16;
/// 43 base-62 characters carry 256 random bits. The promised minimum is 192.
const SECRET_LEN: usize = 43;
/// Six base-62 characters hold the 32 bits of a CRC.
const CHECKSUM_LEN: usize = 6;

/// The public part of a token: identifies the webhook in look-ups, lists and logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicId([u8; PUBLIC_ID_LEN]);

/// A well-formed token from a sender. The secret is hashed during parsing and its text is not kept,
/// so that no log can contain it.
#[derive(Clone, Copy, Debug)]
pub struct PresentedToken {
    pub public_id: PublicId,
    pub secret_hash: SecretHash,
}

/// A new token. This is the only value that holds its text; the store gets `presented`.
pub struct NewToken {
    text: String,
    pub presented: PresentedToken,
}

/// Wrong length, alphabet, prefix or checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook token")]
pub struct MalformedToken;

impl PresentedToken {
    /// Parses the token of a URL. Does not check whether a webhook has it.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let (body, checksum) = text
            .len()
            .checked_sub(CHECKSUM_LEN)
            .and_then(|at| text.split_at_checked(at))
            .ok_or(MalformedToken)?;
        let mut parts = body.split('_');
        let (Some(PREFIX), Some(public_id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedToken);
        };
        let public_id = PublicId::parse(public_id)?;
        if !is_base62(secret, SECRET_LEN) || checksum.as_bytes() != checksum_of(body) {
            return Err(MalformedToken);
        }
        Ok(Self { public_id, secret_hash: SecretHash::of(secret) })
    }
}

impl NewToken {
    /// Generates a token for a new webhook.
    pub fn generate() -> Self {
        Self::for_public_id(PublicId(random_base62()))
    }

    /// Generates a token with a new secret for a webhook that keeps its public id.
    pub fn for_public_id(public_id: PublicId) -> Self {
        let secret: [u8; SECRET_LEN] = random_base62();
        let secret = String::from_utf8_lossy(&secret);
        let body = format!("{PREFIX}_{public_id}_{secret}");
        let checksum = checksum_of(&body);
        let text = format!("{body}{}", String::from_utf8_lossy(&checksum));
        Self { presented: PresentedToken { public_id, secret_hash: SecretHash::of(&secret) }, text }
    }

    /// Returns the token itself: show it only to the person who requested it.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl PublicId {
    /// Parses a public id, as `webhook list` shows it.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        if !is_base62(text, PUBLIC_ID_LEN) {
            return Err(MalformedToken);
        }
        text.as_bytes().try_into().map(Self).map_err(|_| MalformedToken)
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewToken({})", self.presented.public_id)
    }
}

fn is_base62(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn checksum_of(body: &str) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    std::array::from_fn(|_| {
        let digit = BASE62[rest % BASE62.len()];
        rest /= BASE62.len();
        digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_a_new_token_gives_the_values_to_store() {
        let token = NewToken::generate();
        let presented =
            PresentedToken::parse(token.reveal()).expect("a new token should be well-formed");
        assert_eq!(presented.public_id, token.presented.public_id);
        assert!(presented.secret_hash.matches(&token.presented.secret_hash));
    }

    #[test]
    fn a_rotated_token_keeps_the_public_id_and_changes_the_secret() {
        let old = NewToken::generate();
        let new = NewToken::for_public_id(old.presented.public_id);
        assert_eq!(new.presented.public_id, old.presented.public_id);
        assert!(!new.presented.secret_hash.matches(&old.presented.secret_hash));
    }

    #[test]
    fn any_single_changed_character_makes_a_token_malformed() {
        let token = NewToken::generate();
        for at in 0..token.reveal().len() {
            let mut bytes = token.reveal().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).expect("the token should stay ASCII");
            assert!(PresentedToken::parse(&changed).is_err(), "position {at}");
        }
    }

    #[test]
    fn garbage_is_malformed() {
        for text in
            ["", "_", "tpw", "tpw__", "YOUR_SECURE_TOKEN", "ééééé", "tpw_é_ü", &"x".repeat(5_000)]
        {
            assert!(PresentedToken::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn debug_output_has_the_public_id_and_never_the_secret() {
        let token = NewToken::generate();
        let shown = format!("{token:?} {:?}", token.presented.secret_hash);
        let secret = token.reveal().rsplit('_').next().expect("the token should contain a secret");
        assert!(shown.contains(token.presented.public_id.as_str()));
        assert!(!shown.contains(&secret[..8]));
    }
}
