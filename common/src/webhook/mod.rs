//! Webhooks in a gateway: their tokens, and the feed of changes to the registry.

pub mod token;

use async_trait::async_trait;

use crate::failure::Unavailable;
use crate::id::WebhookId;
use crate::secret::SecretHash;
use crate::timestamp::Timestamp;

use token::PublicId;

/// Senders post to this path with the token appended.
pub const INGRESS_PATH: &str = "/webhooks/ingress/";

/// The URL that senders post to. With a real token, the URL is a secret.
pub fn ingress_url(public_url: &str, token: &str) -> String {
    format!("{}{INGRESS_PATH}{token}", public_url.trim_end_matches('/'))
}

/// An entry of the webhook registry.
#[derive(Clone, Debug)]
pub struct WebhookRecord {
    pub id: WebhookId,
    /// The registry's key.
    pub public_id: PublicId,
    pub secret_hash: SecretHash,
    /// The hash of the secret before the last rotation, and the end of its validity.
    pub previous: Option<(SecretHash, Timestamp)>,
    pub revoked: bool,
}

#[derive(Clone, Debug, Default)]
pub struct RegistryChanges {
    /// The newest revision in `webhooks`; pass it to the next call.
    pub revision: i64,
    /// The current state of each changed webhook.
    pub webhooks: Vec<WebhookRecord>,
}

/// Delivers changes to the webhook registry of a gateway.
#[async_trait]
pub trait WebhookFeed: Send {
    /// Returns the changes after `revision`; 0 returns all webhooks. Implementations apply a deadline.
    async fn changes_since(&mut self, revision: i64) -> Result<RegistryChanges, Unavailable>;
}

/// Maximum number of webhooks in a registry, including revoked webhooks. They take about 30 MB of a
/// gateway's memory.
pub const REGISTRY_WEBHOOKS_MAX: i64 = 200_000;
