//! The directory: every webhook, in memory, so that no request asks the store.

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
use crate::traffic::Tally;

/// The webhooks of one revision. Replaced as a whole, never changed.
#[derive(Clone, Default)]
pub struct WebhookRegistry {
    webhooks: HashMap<PublicId, Arc<RegisteredWebhook>>,
    revision: i64,
}

/// A webhook.
pub struct RegisteredWebhook {
    pub webhook_id: WebhookId,
    secret_hash: SecretHash,
    previous: Option<(SecretHash, Timestamp)>,
    revoked: bool,
    /// Survives refreshes, so that a rename is no way around the limit.
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
    /// Kept across refreshes, as the limiter.
    pub tally: Arc<Tally>,
}

/// What the directory says of a token.
pub enum TokenStatus {
    Valid(Arc<RegisteredWebhook>),
    Revoked,
    /// No such webhook, or not its secret; a newer revision may know it.
    Unknown,
}

impl WebhookRegistry {
    /// Every webhook.
    pub fn entries(&self) -> impl Iterator<Item = &RegisteredWebhook> {
        self.webhooks.values().map(|entry| &**entry)
    }

    /// The newest revision it contains.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How many webhooks it holds, revoked ones included.
    pub fn len(&self) -> usize {
        self.webhooks.len()
    }

    /// Judges a token at `now`.
    pub fn judge(&self, token: &PresentedToken, now: Timestamp) -> TokenStatus {
        let Some(entry) = self.webhooks.get(&token.public_id) else { return TokenStatus::Unknown };
        let is_current = entry.secret_hash.matches(&token.secret_hash);
        let is_previous = entry.previous.as_ref().is_some_and(|(hash, valid_until)| {
            hash.matches(&token.secret_hash) && now < *valid_until
        });
        match (is_current || is_previous, entry.revoked) {
            (false, _) => TokenStatus::Unknown,
            (true, true) => TokenStatus::Revoked,
            (true, false) => TokenStatus::Valid(Arc::clone(entry)),
        }
    }

    /// The directory with changes made to it.
    pub fn with(&self, changes: RegistryChanges, rate_limit: Option<RateLimit>) -> Self {
        let mut webhooks = self.webhooks.clone();
        for record in changes.webhooks {
            let known = webhooks.get(&record.public_id);
            let (limiter, tally) = match known {
                Some(entry) => (entry.limiter.clone(), entry.tally.clone()),
                None => (rate_limit.map(limiter), Arc::default()),
            };
            webhooks.insert(record.public_id, Arc::new(entry(record, limiter, tally)));
        }
        Self { webhooks, revision: changes.revision }
    }
}

fn entry(
    record: WebhookRecord,
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
    tally: Arc<Tally>,
) -> RegisteredWebhook {
    let WebhookRecord { id, public_id: _, secret_hash, previous, revoked } = record;
    RegisteredWebhook { webhook_id: id, secret_hash, previous, revoked, limiter, tally }
}

fn limiter(limit: RateLimit) -> Arc<DefaultDirectRateLimiter> {
    Arc::new(RateLimiter::direct(Quota::per_second(limit.per_second).allow_burst(limit.burst)))
}

impl RegisteredWebhook {
    /// Takes one activity from the rate limit, or says how long to wait.
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

    fn directory(record: WebhookRecord) -> WebhookRegistry {
        WebhookRegistry::default()
            .with(RegistryChanges { revision: 1, webhooks: vec![record] }, None)
    }

    fn judge(directory: &WebhookRegistry, token: &NewToken, now: i64) -> &'static str {
        match directory.judge(&token.presented, Timestamp::from_unix_micros(now)) {
            TokenStatus::Valid(_) => "valid",
            TokenStatus::Revoked => "revoked",
            TokenStatus::Unknown => "unknown",
        }
    }

    #[test]
    fn a_known_token_is_valid_and_any_other_unknown() {
        let token = NewToken::generate();
        let directory = directory(record(&token, None, false));
        assert_eq!(judge(&directory, &token, 0), "valid");
        assert_eq!(judge(&directory, &NewToken::generate(), 0), "unknown");
        let wrong_secret = NewToken::for_public_id(token.presented.public_id);
        assert_eq!(judge(&directory, &wrong_secret, 0), "unknown");
    }

    #[test]
    fn an_old_secret_is_valid_until_the_end_of_its_grace_and_not_a_moment_longer() {
        let old = NewToken::generate();
        let new = NewToken::for_public_id(old.presented.public_id);
        let directory = directory(record(&new, Some((&old, 100)), false));
        assert_eq!(judge(&directory, &new, 100), "valid");
        assert_eq!(judge(&directory, &old, 99), "valid");
        assert_eq!(judge(&directory, &old, 100), "unknown");
    }

    #[test]
    fn only_the_secret_of_a_revoked_webhook_learns_that_it_was_revoked() {
        let token = NewToken::generate();
        let directory = directory(record(&token, None, true));
        assert_eq!(judge(&directory, &token, 0), "revoked");
        assert_eq!(
            judge(&directory, &NewToken::for_public_id(token.presented.public_id), 0),
            "unknown"
        );
    }

    #[test]
    fn a_rate_limit_holds_across_refreshes() {
        let token = NewToken::generate();
        let one = NonZeroU32::MIN;
        let limit = Some(RateLimit { per_second: one, burst: one });
        let changes =
            |revision| RegistryChanges { revision, webhooks: vec![record(&token, None, false)] };
        let first = WebhookRegistry::default().with(changes(1), limit);
        let TokenStatus::Valid(entry) = first.judge(&token.presented, Timestamp::now()) else {
            panic!("valid")
        };
        assert!(entry.check_rate().is_ok());
        let second = first.with(changes(2), limit);
        let TokenStatus::Valid(entry) = second.judge(&token.presented, Timestamp::now()) else {
            panic!("valid")
        };
        let wait = entry.check_rate().expect_err("the only one was taken");
        assert!(wait <= Duration::from_secs(1));
    }
}
