//! The retry schedule: delays between attempts, and their maximum number.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The delays after the first, second, … failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule(Vec<Duration>);

/// Each step needs its own queue, so their number is limited.
const STEPS_MAX: usize = 16;
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a retry schedule: write up to {STEPS_MAX} delays between 100ms and 7days, such as 10s,1m,10m"
)]
pub struct InvalidSchedule;

impl RetrySchedule {
    /// Returns the delay after the failed attempt number `attempt`, from 1; `None` after the last
    /// attempt.
    pub fn delay_after(&self, attempt: u32) -> Option<Duration> {
        let step = usize::try_from(attempt.max(1) - 1).ok()?;
        self.0.get(step).copied()
    }

    pub fn delays(&self) -> &[Duration] {
        &self.0
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self([10, 60, 600].map(Duration::from_secs).to_vec())
    }
}

impl FromStr for RetrySchedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let delays: Vec<Duration> = text
            .split(',')
            .map(|step| humantime::parse_duration(step.trim()).map_err(|_| InvalidSchedule))
            .collect::<Result<_, _>>()?;
        let fits = |delay: &Duration| (DELAY_MIN..=DELAY_MAX).contains(delay);
        if delays.len() <= STEPS_MAX && delays.iter().all(fits) {
            Ok(Self(delays))
        } else {
            Err(InvalidSchedule)
        }
    }
}

impl fmt::Display for RetrySchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|delay| delay_name(*delay)).collect();
        f.write_str(&names.join(","))
    }
}

/// Formats a delay as in the name of its queue: `10s`, `1m30s`.
pub fn delay_name(delay: Duration) -> String {
    humantime::format_duration(delay).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_attempt_but_the_last_has_a_delay() {
        let schedule = RetrySchedule::default();
        let waits: Vec<_> = (1..=5)
            .map(|attempt| schedule.delay_after(attempt).map(|delay| delay.as_secs()))
            .collect();
        assert_eq!(waits, [Some(10), Some(60), Some(600), None, None]);
        assert_eq!(schedule.delay_after(0).map(|delay| delay.as_secs()), Some(10));
    }

    #[test]
    fn a_schedule_is_parsed_and_written_unchanged() {
        for text in ["10s,1m,10m", "250ms", "1m30s,2h"] {
            assert_eq!(text.parse::<RetrySchedule>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn an_invalid_schedule_is_rejected() {
        let many = ["1s"; 17].join(",");
        for text in ["", "soon", "10", "1s,,2s", "1ms", "8days", "-1s", &many] {
            assert_eq!(text.parse::<RetrySchedule>(), Err(InvalidSchedule), "{text:?}");
        }
    }
}
