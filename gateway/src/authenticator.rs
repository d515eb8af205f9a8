//! Authenticates webhook tokens against the registry.

use std::sync::Arc;

use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::PresentedToken;

use crate::live_registry::LiveRegistry;
use crate::registry::{RegisteredWebhook, TokenStatus};
use crate::rejection::{NotAccepted, Rejection};

pub struct Authenticator {
    pub registry: Arc<LiveRegistry>,
}

impl Authenticator {
    /// Returns the webhook of a token.
    ///
    /// An unknown token waits for the next refresh, so that a new webhook works at its first
    /// request. The store is not queried for it, and no cache exists that an attacker could fill.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<RegisteredWebhook>, Rejection> {
        let token = PresentedToken::parse(token).map_err(|_| Rejection::InvalidToken)?;
        if let Some(webhook) = self.find(&token)? {
            return Ok(webhook);
        }
        if !self.registry.wait_for_refresh().await {
            return Err(NotAccepted::RegistryStale.into());
        }
        self.find(&token)?.ok_or(Rejection::InvalidToken)
    }

    /// Returns `None` if the registry does not know the token.
    fn find(&self, token: &PresentedToken) -> Result<Option<Arc<RegisteredWebhook>>, Rejection> {
        if self.registry.is_stale() {
            return Err(NotAccepted::RegistryStale.into());
        }
        match self.registry.token_status(token, Timestamp::now()) {
            TokenStatus::Valid(webhook) => Ok(Some(webhook)),
            TokenStatus::Revoked => Err(Rejection::WebhookRevoked),
            TokenStatus::Unknown => Ok(None),
        }
    }
}
