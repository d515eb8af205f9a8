//! Sign-in is throttled, by the address that is tried and by where the tries come from.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use trailpad_common::email::Email;

const TRIES_OF_ADDRESS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const TRIES_FROM_HOST: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// One try comes back after this time.
const REGAIN: Duration = Duration::from_secs(30);
/// Keys that are remembered; past it those that have regained every try are forgotten.
const KEYS_MAX: usize = 10_000;

/// Counts tries at signing in.
pub struct Throttle {
    addresses: DefaultKeyedRateLimiter<String>,
    hosts: DefaultKeyedRateLimiter<IpAddr>,
}

impl Default for Throttle {
    fn default() -> Self {
        let quota = |burst| {
            let quota = Quota::with_period(REGAIN).map(|quota| quota.allow_burst(burst));
            quota.unwrap_or_else(|| unreachable!("the period is not zero"))
        };
        Self {
            addresses: RateLimiter::keyed(quota(TRIES_OF_ADDRESS)),
            hosts: RateLimiter::keyed(quota(TRIES_FROM_HOST)),
        }
    }
}

impl Throttle {
    /// Whether one more try is allowed; counts it.
    pub fn allows(&self, email: &Email, from: Option<IpAddr>) -> bool {
        if self.addresses.len() + self.hosts.len() > KEYS_MAX {
            self.addresses.retain_recent();
            self.hosts.retain_recent();
        }
        let host_allows = from.is_none_or(|host| self.hosts.check_key(&host).is_ok());
        host_allows && self.addresses.check_key(&email.as_str().to_owned()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tried_ten_times_and_others_are_not_held_up() {
        let throttle = Throttle::default();
        let [one, other] =
            ["one@example.com", "other@example.com"].map(|text| Email::parse(text).expect(text));
        let tries = (0..12).filter(|_| throttle.allows(&one, None)).count();
        assert_eq!(tries, 10);
        assert!(throttle.allows(&other, None));
    }

    #[test]
    fn one_host_can_not_try_addresses_for_ever() {
        let throttle = Throttle::default();
        let host = Some("192.0.2.1".parse().expect("an address"));
        let tries = (0..100)
            .filter(|n| {
                let email = Email::parse(&format!("m{n}@example.com")).expect("an address");
                throttle.allows(&email, host)
            })
            .count();
        assert_eq!(tries, 60);
    }
}
