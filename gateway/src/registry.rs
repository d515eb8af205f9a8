//! The webhook registry: every webhook in memory, so that no request queries the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use trailpad_common::id::WebhookId;
use trailpad_common::secret::SecretHash;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::{PresentedToken, PublicId};
use trailpad_common::webhook::{RegistryChanges, WebhookRecord};

use crate::settings::RateLimit;
use crate::tally::Tally;

/// All webhooks at one revision. Immutable: a refresh builds a new registry.
#[derive(Clone, Default)]
pub struct WebhookRegistry {
    webhooks: HashMap<PublicId, Arc<RegisteredWebhook>>,
    revision: i64,
}

pub struct RegisteredWebhook {
    pub webhook_id: WebhookId,
    secret_hash: SecretHash,
    /// The secret before the last rotation, and the end of its grace period.
    previous: Option<(SecretHash, Timestamp)>,
    revoked: bool,
    /// Kept across refreshes, so that renaming a webhook does not reset its limit.
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
    /// Kept across refreshes, so that no count is lost.
    pub tally: Arc<Tally>,
}

pub enum TokenStatus {
    Valid(Arc<RegisteredWebhook>),
    Revoked,
    /// The webhook does not exist or its secret differs. A newer revision may know the token.
    Unknown,
}

impl WebhookRegistry {
    pub fn webhooks(&self) -> impl Iterator<Item = &RegisteredWebhook> {
        self.webhooks.values().map(Arc::as_ref)
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Number of webhooks, including revoked ones.
    pub fn len(&self) -> usize {
        self.webhooks.len()
    }

    pub fn token_status(&self, token: &PresentedToken, now: Timestamp) -> TokenStatus {
        let Some(webhook) = self.webhooks.get(&token.public_id) else {
            return TokenStatus::Unknown;
        };
        let is_current = webhook.secret_hash.matches(&token.secret_hash);
        let is_previous = webhook.previous.as_ref().is_some_and(|(hash, valid_until)| {
            hash.matches(&token.secret_hash) && now < *valid_until
        });
        if !is_current && !is_previous {
            TokenStatus::Unknown
        } else if webhook.revoked {
            TokenStatus::Revoked
        } else {
            TokenStatus::Valid(Arc::clone(webhook))
        }
    }

    /// Returns a copy of the registry with `changes` applied.
    pub fn with(&self, changes: RegistryChanges, rate_limit: Option<RateLimit>) -> Self {
        let mut webhooks = self.webhooks.clone();
        for record in changes.webhooks {
            let known = webhooks.get(&record.public_id);
            let (limiter, tally) = match known {
                Some(known) => (known.limiter.clone(), known.tally.clone()),
                None => (rate_limit.map(limiter), Arc::default()),
            };
            let WebhookRecord { id, public_id, secret_hash, previous, revoked } = record;
            let webhook = RegisteredWebhook {
                webhook_id: id,
                secret_hash,
                previous,
                revoked,
                limiter,
                tally,
            };
            webhooks.insert(public_id, Arc::new(webhook));
        }
        Self { webhooks, revision: changes.revision }
    }
}

fn limiter(limit: RateLimit) -> Arc<DefaultDirectRateLimiter> {
    Arc::new(RateLimiter::direct(Quota::per_second(limit.per_second).allow_burst(limit.burst)))
}

impl RegisteredWebhook {
    /// Counts one activity against the rate limit.
    ///
    /// # Errors
    /// The time to wait, if the webhook is over its limit.
    pub fn check_rate(&self) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use trailpad_common::webhook::token::NewToken;

    use super::*;

    fn record(
        token: &NewToken,
        previous: Option<(&NewToken, i64)>,
        revoked: bool,
    ) -> WebhookRecord {
        WebhookRecord {
            id: WebhookId::generate(),
            public_id: token.presented.public_id,
            secret_hash: token.presented.secret_hash,
            previous: previous.map(|(old, until)| {
                (old.presented.secret_hash, Timestamp::from_unix_micros(until))
            }),
            revoked,
        }
    }

    fn registry(record: WebhookRecord) -> WebhookRegistry {
        WebhookRegistry::default()
            .with(RegistryChanges { revision: 1, webhooks: vec![record] }, None)
    }

    fn status(registry: &WebhookRegistry, token: &NewToken, now: i64) -> &'static str {
        match registry.token_status(&token.presented, Timestamp::from_unix_micros(now)) {
            TokenStatus::Valid(_) => "valid",
            TokenStatus::Revoked => "revoked",
            TokenStatus::Unknown => "unknown",
        }
    }

    #[test]
    fn a_known_token_is_valid_and_any_other_is_unknown() {
        let token = NewToken::generate();
        let registry = registry(record(&token, None, false));
        assert_eq!(status(&registry, &token, 0), "valid");
        assert_eq!(status(&registry, &NewToken::generate(), 0), "unknown");
        let wrong_secret = NewToken::for_public_id(token.presented.public_id);
        assert_eq!(status(&registry, &wrong_secret, 0), "unknown");
    }

    #[test]
    fn a_rotated_secret_is_valid_only_until_its_grace_period_ends() {
        let old = NewToken::generate();
        let new = NewToken::for_public_id(old.presented.public_id);
        let registry = registry(record(&new, Some((&old, 100)), false));
        assert_eq!(status(&registry, &new, 100), "valid");
        assert_eq!(status(&registry, &old, 99), "valid");
        assert_eq!(status(&registry, &old, 100), "unknown");
    }

    #[test]
    fn a_revocation_is_disclosed_only_to_the_holder_of_the_secret() {
        let token = NewToken::generate();
        let registry = registry(record(&token, None, true));
        assert_eq!(status(&registry, &token, 0), "revoked");
        assert_eq!(
            status(&registry, &NewToken::for_public_id(token.presented.public_id), 0),
            "unknown"
        );
    }

    #[test]
    fn a_rate_limit_survives_refreshes() {
        let token = NewToken::generate();
        let one = NonZeroU32::MIN;
        let limit = Some(RateLimit { per_second: one, burst: one });
        let changes =
            |revision| RegistryChanges { revision, webhooks: vec![record(&token, None, false)] };
        let first = WebhookRegistry::default().with(changes(1), limit);
        let TokenStatus::Valid(webhook) = first.token_status(&token.presented, Timestamp::now())
        else {
            panic!("the token should be valid")
        };
        assert!(webhook.check_rate().is_ok());
        let second = first.with(changes(2), limit);
        let TokenStatus::Valid(webhook) = second.token_status(&token.presented, Timestamp::now())
        else {
            panic!("the token should be valid")
        };
        let wait = webhook.check_rate().expect_err("the second activity should be over the limit");
        assert!(wait <= Duration::from_secs(1));
    }
}
