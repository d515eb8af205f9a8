//! The rule: whether the queue makes progress for a worker. Pure.

use std::time::Duration;

/// Time without a delivery, or without a confirm, after which a worker is not ready.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Number of confirmed probes of which each consumer must have received some.
const PROBES_PER_CONSUMER: u32 = 2;
const PROBES_MIN: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Working,
    /// The queue takes messages and delivers none to this worker.
    Undelivered,
    /// The queue confirms no message.
    Unconfirmed,
}

/// Observations of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Time since the worker has had no unsettled message; `None` if it has one, or if it does not
    /// consume.
    pub waiting: Option<Duration>,
    /// Probes of this worker that were confirmed in that time.
    pub probes_confirmed: u32,
    /// Consumers of the queue, also of other workers.
    pub consumers: u32,
    /// Time since the publication of the probe that is not confirmed.
    pub unconfirmed: Option<Duration>,
}

pub(super) fn progress(seen: Seen) -> Progress {
    let is_silent = |time: Option<Duration>| time.is_some_and(|time| time >= SILENCE_MAX);
    let probes_needed = PROBES_MIN.max(PROBES_PER_CONSUMER.saturating_mul(seen.consumers));
    if is_silent(seen.unconfirmed) {
        Progress::Unconfirmed
    } else if is_silent(seen.waiting) && seen.probes_confirmed >= probes_needed {
        Progress::Undelivered
    } else {
        Progress::Working
    }
}

pub(super) fn reason(progress: Progress, seen: Seen) -> Option<String> {
    match progress {
        Progress::Working => None,
        Progress::Undelivered => Some(format!(
            "no delivery for {} s though the broker confirmed {} messages; subscribing again",
            SILENCE_MAX.as_secs(),
            seen.probes_confirmed
        )),
        Progress::Unconfirmed => {
            Some(format!("the broker confirmed no message for {} s", SILENCE_MAX.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(waiting: u64, probes_confirmed: u32, consumers: u32) -> Seen {
        let waiting = Some(Duration::from_secs(waiting));
        Seen { waiting, probes_confirmed, consumers, unconfirmed: None }
    }

    #[test]
    fn a_worker_that_receives_nothing_of_enough_confirmed_probes_makes_no_progress() {
        assert_eq!(progress(seen(60, 4, 1)), Progress::Undelivered);
        assert_eq!(progress(seen(59, 5, 1)), Progress::Working, "the time is not over");
        assert_eq!(progress(seen(600, 3, 1)), Progress::Working, "too few probes are confirmed");
    }

    #[test]
    fn other_consumers_may_have_received_the_probes() {
        assert_eq!(progress(seen(60, 6, 10)), Progress::Working);
        assert_eq!(progress(seen(200, 20, 10)), Progress::Undelivered);
    }

    #[test]
    fn a_worker_that_has_messages_or_does_not_consume_is_not_judged_by_its_deliveries() {
        let busy = Seen { waiting: None, probes_confirmed: 100, ..Seen::default() };
        assert_eq!(progress(busy), Progress::Working);
    }

    #[test]
    fn a_broker_that_confirms_nothing_for_a_minute_makes_no_progress() {
        let unconfirmed = |seconds| Seen {
            unconfirmed: Some(Duration::from_secs(seconds)),
            ..seen(seconds, 0, 1)
        };
        assert_eq!(progress(unconfirmed(59)), Progress::Working);
        assert_eq!(progress(unconfirmed(60)), Progress::Unconfirmed);
    }
}
