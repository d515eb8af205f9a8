//! Limits password attempts with GCRA (generic cell rate algorithm): per e-mail address and host, per
//! address from all hosts, and per host for all addresses. Only a wrong password uses up an attempt.
//! So a few attempts of others block nobody, and a guesser is soon blocked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trailpad_common::email::Email;

/// Subject of a limit.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    AddressFromHost(Email, IpAddr),
    Address(Email),
    Host(IpAddr),
}

/// Number of attempts at once, and the time after which one more is allowed.
struct Limit {
    attempts: u32,
    interval: Duration,
}

const STRICT: Limit = Limit { attempts: 10, interval: Duration::from_secs(30) };
/// Only a crowd of hosts can block an address. Trying many addresses blocks the host.
const LENIENT: Limit = Limit { attempts: 300, interval: Duration::from_secs(1) };
/// Keys kept in memory.
const KEYS_MAX: usize = 10_000;

impl Key {
    fn limit(&self) -> &'static Limit {
        match self {
            Self::AddressFromHost(..) => &STRICT,
            Self::Address(_) | Self::Host(_) => &LENIENT,
        }
    }
}

pub struct Throttle {
    began: Instant,
    arrivals: Mutex<ArrivalTimes>,
}

/// A reserved attempt, refunded if the password is right.
pub struct Attempt([Key; 3]);

impl Default for Throttle {
    fn default() -> Self {
        Self { began: Instant::now(), arrivals: Mutex::default() }
    }
}

impl Throttle {
    /// Reserves an attempt before the password is verified, so that concurrent attempts can't exceed
    /// the limits. `None` if a limit is reached: the visitor must wait.
    pub fn reserve(&self, email: &Email, from: IpAddr) -> Option<Attempt> {
        let keys = keys(email, from);
        let is_reserved = self.arrivals().reserve(&keys, self.began.elapsed());
        is_reserved.then_some(Attempt(keys))
    }

    pub fn refund(&self, Attempt(keys): Attempt) {
        self.arrivals().refund(&keys);
    }

    fn arrivals(&self) -> MutexGuard<'_, ArrivalTimes> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subjects that an attempt counts for.
fn keys(email: &Email, from: IpAddr) -> [Key; 3] {
    let host = host(from);
    [Key::AddressFromHost(email.clone(), host), Key::Address(email.clone()), Key::Host(host)]
}

/// The host behind an address. For IPv6 the first half (/64), because its owner chooses the rest.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// GCRA's theoretical arrival time of each key: at this time, all attempts are available again. All
/// times are measured from the same start.
#[derive(Default)]
struct ArrivalTimes(HashMap<Key, Duration>);

impl ArrivalTimes {
    /// Reserves an attempt for all keys, or for none.
    fn reserve(&mut self, keys: &[Key], now: Duration) -> bool {
        let theoretical_arrival = |key: &Key| self.0.get(key).map_or(now, |at| (*at).max(now));
        let allows = |key: &Key| {
            let Limit { attempts, interval } = key.limit();
            theoretical_arrival(key) - now <= *interval * (attempts - 1)
        };
        if !keys.iter().all(allows) {
            return false;
        }
        let next: Vec<_> =
            keys.iter().map(|key| theoretical_arrival(key) + key.limit().interval).collect();
        if self.0.len() + keys.len() > KEYS_MAX {
            self.forget(now);
        }
        self.0.extend(keys.iter().cloned().zip(next));
        true
    }

    fn refund(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(at) = self.0.get_mut(key) {
                *at = at.saturating_sub(key.limit().interval);
            }
        }
    }

    /// Drops the keys with all attempts available. Then keeps at most half of [`KEYS_MAX`]: those
    /// with the fewest attempts left.
    fn forget(&mut self, now: Duration) {
        self.0.retain(|_, at| *at > now);
        if self.0.len() > KEYS_MAX / 2 {
            let mut times: Vec<_> = self.0.values().copied().collect();
            times.sort_unstable();
            let newest_forgotten = times[times.len() - KEYS_MAX / 2 - 1];
            self.0.retain(|_, at| *at > newest_forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(60);

    fn email(n: u32) -> Email {
        Email::parse(&format!("m{n}@example.com")).expect("the e-mail address should be valid")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("the IP address should be valid")
    }

    /// Number of allowed attempts of a host at the same time, spread over `addresses`.
    fn allowed(times: &mut ArrivalTimes, attempts: u32, addresses: u32, from: &str) -> usize {
        let is_allowed = |n: &u32| times.reserve(&keys(&email(n % addresses), address(from)), NOW);
        (0..attempts).filter(is_allowed).count()
    }

    #[test]
    fn an_address_allows_ten_attempts_per_host_and_others_are_not_blocked() {
        let mut times = ArrivalTimes::default();
        assert_eq!(allowed(&mut times, 20, 1, "192.0.2.1"), 10);
        assert_eq!(allowed(&mut times, 20, 1, "192.0.2.2"), 10, "from another host");
        assert!(times.reserve(&keys(&email(1), address("192.0.2.1")), NOW), "another address");
    }

    #[test]
    fn attempts_of_one_host_at_many_addresses_and_of_many_hosts_at_one_are_limited() {
        assert_eq!(allowed(&mut ArrivalTimes::default(), 1_000, 1_000, "192.0.2.1"), 300);
        let mut times = ArrivalTimes::default();
        let attempts = (0..100).map(|n| allowed(&mut times, 10, 1, &format!("192.0.2.{n}")));
        assert_eq!(attempts.sum::<usize>(), 300);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_host_and_ipv4_equals_its_ipv6_form() {
        for (one, other, is_same) in [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(host(address(one)) == host(address(other)), is_same, "{one} {other}");
        }
    }

    #[test]
    fn a_refunded_attempt_is_not_used_up() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            let attempt = throttle.reserve(&email(1), address("192.0.2.1"));
            throttle.refund(attempt.expect("the attempt should be allowed"));
        }
    }

    #[test]
    fn an_attempt_returns_after_its_interval_and_a_rejected_one_costs_nothing() {
        let mut times = ArrivalTimes::default();
        let keys = keys(&email(1), address("192.0.2.1"));
        while times.reserve(&keys, NOW) {}
        assert_eq!(times.0[&keys[2]], NOW + Duration::from_secs(10), "ten attempts of the host");
        let later = NOW + Duration::from_secs(30);
        assert!(!times.reserve(&keys, later - Duration::from_millis(1)));
        assert!(times.reserve(&keys, later));
        assert!(!times.reserve(&keys, later));
    }

    #[test]
    fn memory_is_bounded_and_the_busiest_keys_are_kept_longest() {
        let mut times = ArrivalTimes::default();
        let busy = keys(&email(0), address("192.0.2.1"));
        while times.reserve(&busy, NOW) {}
        for n in 1..=2 * u32::try_from(KEYS_MAX).expect("KEYS_MAX should fit into 32 bits") {
            assert!(times.reserve(&keys(&email(n), IpAddr::V4(n.into())), NOW));
            assert!(times.0.len() <= KEYS_MAX);
        }
        assert!(!times.reserve(&busy, NOW));
    }
}
