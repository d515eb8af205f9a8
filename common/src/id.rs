//! Identifiers: a newtype for each kind, so that the compiler rejects mixed-up ids.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::timestamp::Timestamp;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A workspace owns projects, members and webhooks.
    WorkspaceId;
    ProjectId;
    MemberId;
    WebhookId;
    /// An accepted activity; the primary key of its row.
    ActivityId;
}

macro_rules! generated {
    ($($name:ident)*) => {$(
        impl $name {
            /// Generates a UUIDv7, so that rows created together are neighbours in the index.
            pub fn generate() -> Self {
                Self(time_ordered(Timestamp::now()))
            }
        }
    )*};
}

generated! { WorkspaceId ProjectId MemberId WebhookId }

impl ActivityId {
    /// Generates the id of an activity received at `at` without an idempotency key (UUIDv7).
    pub fn received_at(at: Timestamp) -> Self {
        Self(time_ordered(at))
    }

    /// Derives the id of an activity posted with an `Idempotency-Key`: a UUIDv8 of the SHA-256 of
    /// webhook and key, so that a repeated post gets the same row.
    pub fn of_idempotency_key(webhook: WebhookId, key: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(webhook.0.as_bytes()).chain_update(key).finalize();
        Self(hashed(digest.as_slice()))
    }

    /// Derives the id of an unreadable message: a UUIDv8 of the SHA-256 of its bytes, so that a
    /// redelivery gets the same dead letter.
    pub fn of_unreadable(message: &[u8]) -> Self {
        Self(hashed(Sha256::digest(message).as_slice()))
    }
}

/// Uses the random generator of this thread: `Uuid::now_v7` would share a lock between threads.
fn time_ordered(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.unix_micros() / 1_000).unwrap_or(0);
    let mut random = [0_u8; 10];
    rand::rng().fill_bytes(&mut random);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn hashed(digest: &[u8]) -> Uuid {
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_gives_the_same_id_only_within_its_webhook() {
        let one = WebhookId::generate();
        let two = WebhookId::generate();
        let id = ActivityId::of_idempotency_key(one, b"order-1");
        assert_eq!(id, ActivityId::of_idempotency_key(one, b"order-1"));
        assert_ne!(id, ActivityId::of_idempotency_key(one, b"order-2"));
        assert_ne!(id, ActivityId::of_idempotency_key(two, b"order-1"));
        assert_eq!(id.uuid().get_version_num(), 8);
    }

    #[test]
    fn generated_activity_ids_are_version_7_and_ordered_by_time() {
        let early = ActivityId::received_at(Timestamp::from_unix_micros(1_000_000));
        let late = ActivityId::received_at(Timestamp::from_unix_micros(1_002_000));
        assert_eq!(early.uuid().get_version_num(), 7);
        assert!(early < late);
    }
}
