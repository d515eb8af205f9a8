//! Tries at passwords are counted: of an address from a host, of an address from everywhere, from a
//! host at all addresses. Only a wrong password spends a try. So nobody is held up by a few tries of
//! others, and a guesser soon is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trailpad_common::email::Email;

/// What is counted.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    AddressFromHost(Email, IpAddr),
    Address(Email),
    Host(IpAddr),
}

/// How many tries there are at once, and the time after which one more comes back.
struct Limit {
    tries: u32,
    regain: Duration,
}

const NARROW: Limit = Limit { tries: 10, regain: Duration::from_secs(30) };
/// So wide that it takes a crowd of hosts to hold up an address. Whoever tries many addresses holds up
/// the host they sit at.
const WIDE: Limit = Limit { tries: 300, regain: Duration::from_secs(1) };
/// Keys that are remembered.
const KEYS_MAX: usize = 10_000;

impl Key {
    fn limit(&self) -> &'static Limit {
        match self {
            Self::AddressFromHost(..) => &NARROW,
            Self::Address(_) | Self::Host(_) => &WIDE,
        }
    }
}

/// Counts tries.
pub struct Throttle {
    began: Instant,
    counts: Mutex<Counts>,
}

/// A try that was taken; given back if the password is right.
pub struct Try([Key; 3]);

impl Default for Throttle {
    fn default() -> Self {
        Self { began: Instant::now(), counts: Mutex::default() }
    }
}

impl Throttle {
    /// Takes a try at a password of this address, before the password is looked at: of many that
    /// come at once no more are looked at than are allowed. None: wait.
    pub fn take(&self, email: &Email, from: IpAddr) -> Option<Try> {
        let keys = keys(email, from);
        let is_taken = self.counts().take(&keys, self.began.elapsed());
        is_taken.then_some(Try(keys))
    }

    /// Gives one back.
    pub fn give_back(&self, Try(keys): Try) {
        self.counts().give_back(&keys);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a try counts for.
fn keys(email: &Email, from: IpAddr) -> [Key; 3] {
    let host = host(from);
    [Key::AddressFromHost(email.clone(), host), Key::Address(email.clone()), Key::Host(host)]
}

/// Whose address it is. Of IPv6 the first half: the rest is its owner's to choose.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// When each key will have regained every try. Times count from any one beginning.
#[derive(Default)]
struct Counts(HashMap<Key, Duration>);

impl Counts {
    /// Takes a try of all keys, or of none.
    fn take(&mut self, keys: &[Key], now: Duration) -> bool {
        let theoretical_arrival = |key: &Key| self.0.get(key).map_or(now, |at| (*at).max(now));
        let allows = |key: &Key| {
            let Limit { tries, regain } = key.limit();
            theoretical_arrival(key) - now <= *regain * (tries - 1)
        };
        if !keys.iter().all(allows) {
            return false;
        }
        let taken: Vec<_> =
            keys.iter().map(|key| theoretical_arrival(key) + key.limit().regain).collect();
        if self.0.len() + keys.len() > KEYS_MAX {
            self.forget(now);
        }
        self.0.extend(keys.iter().cloned().zip(taken));
        true
    }

    fn give_back(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(at) = self.0.get_mut(key) {
                *at = at.saturating_sub(key.limit().regain);
            }
        }
    }

    /// Forgets the keys that have regained every try, and leaves at most half of what may be
    /// remembered: those with the fewest tries left.
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
        Email::parse(&format!("m{n}@example.com")).expect("an address")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of these tries at so many addresses are allowed from a host, at one time.
    fn allowed(counts: &mut Counts, tries: u32, addresses: u32, from: &str) -> usize {
        let is_taken = |n: &u32| counts.take(&keys(&email(n % addresses), address(from)), NOW);
        (0..tries).filter(is_taken).count()
    }

    #[test]
    fn an_address_is_tried_ten_times_from_a_host_and_others_are_not_held_up() {
        let mut counts = Counts::default();
        assert_eq!(allowed(&mut counts, 20, 1, "192.0.2.1"), 10);
        assert_eq!(allowed(&mut counts, 20, 1, "192.0.2.2"), 10, "from another host");
        assert!(counts.take(&keys(&email(1), address("192.0.2.1")), NOW), "another address");
    }

    #[test]
    fn one_host_can_not_try_addresses_for_ever_nor_many_hosts_one_address() {
        assert_eq!(allowed(&mut Counts::default(), 1_000, 1_000, "192.0.2.1"), 300);
        let mut counts = Counts::default();
        let tries = (0..100).map(|n| allowed(&mut counts, 10, 1, &format!("192.0.2.{n}")));
        assert_eq!(tries.sum::<usize>(), 300);
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_and_ipv4_is_the_same_in_ipv6() {
        for (one, other, is_one) in [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(host(address(one)) == host(address(other)), is_one, "{one} {other}");
        }
    }

    #[test]
    fn a_try_that_is_given_back_was_not_spent() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            let taken = throttle.take(&email(1), address("192.0.2.1"));
            throttle.give_back(taken.expect("allowed"));
        }
    }

    #[test]
    fn a_try_comes_back_after_its_time_and_a_refused_one_costs_nothing() {
        let (mut counts, of_one) = (Counts::default(), keys(&email(1), address("192.0.2.1")));
        while counts.take(&of_one, NOW) {}
        assert_eq!(counts.0[&of_one[2]], NOW + Duration::from_secs(10), "of the host ten");
        let later = NOW + Duration::from_secs(30);
        assert!(!counts.take(&of_one, later - Duration::from_millis(1)));
        assert!(counts.take(&of_one, later));
        assert!(!counts.take(&of_one, later));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_busiest_is_remembered_longest() {
        let (mut counts, busy) = (Counts::default(), keys(&email(0), address("192.0.2.1")));
        while counts.take(&busy, NOW) {}
        for n in 1..=2 * u32::try_from(KEYS_MAX).expect("it fits") {
            assert!(counts.take(&keys(&email(n), IpAddr::V4(n.into())), NOW));
            assert!(counts.0.len() <= KEYS_MAX);
        }
        assert!(!counts.take(&busy, NOW));
    }
}
