//! Webhooks as a gateway knows them: tokens, and the feed of changes to the registry.

pub mod token;

use async_trait::async_trait;

use crate::failure::Unavailable;
use crate::id::WebhookId;
use crate::secret::SecretHash;
use crate::timestamp::Timestamp;

use token::PublicId;

/// A webhook as the directory knows it.
#[derive(Clone, Debug)]
pub struct WebhookRecord {
    /// Its identifier.
    pub id: WebhookId,
    /// The look-up key.
    pub public_id: PublicId,
    /// The hash of the secret that is valid.
    pub secret_hash: SecretHash,
    /// The hash of the secret before the last rotation, and until when it is valid.
    pub previous: Option<(SecretHash, Timestamp)>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What changed in the directory since a revision.
#[derive(Clone, Debug, Default)]
pub struct RegistryChanges {
    /// The newest revision that is contained.
    pub revision: i64,
    /// Each webhook that changed, as it is now.
    pub webhooks: Vec<WebhookRecord>,
}

/// Where a gateway learns of webhooks.
#[async_trait]
pub trait WebhookFeed: Send {
    /// What changed after `revision`; 0 asks for everything. Has a deadline of its own.
    async fn changes_since(&mut self, revision: i64) -> Result<RegistryChanges, Unavailable>;
}

/// Webhooks that one directory may hold, revoked ones included: some 30 MB of a gateway's memory.
pub const REGISTRY_WEBHOOKS_MAX: i64 = 200_000;
