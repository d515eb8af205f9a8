//! Collects the faults of a configuration, so that all of them are reported together.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use trailpad_gateway::RateLimit;

use crate::error::Error;

/// The faults found so far. Each method reads one value: on a fault it adds a sentence and returns a
/// placeholder, so that reading continues.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// `problem` completes a sentence that starts with the flag, such as "must be a number".
    pub fn add(&mut self, flag: &str, problem: impl Display) {
        let variable = format!("TRAILPAD_{}", flag.replace('-', "_").to_uppercase());
        self.0.push(format!("--{flag} (or {variable}) {problem}"));
    }

    /// Returns `read`, or every fault if one was found.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Error> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(Error::Config(self.0)),
        }
    }

    /// Parses a value; on a fault it returns `placeholder`.
    pub fn parse_or<T: FromStr>(
        &mut self,
        flag: &str,
        text: &str,
        placeholder: T,
        wanted: &str,
    ) -> T {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(flag, format!("must be {wanted}, not {text:?}"));
            placeholder
        })
    }

    pub fn parse<T: FromStr + Placeholder>(&mut self, flag: &str, text: &str, wanted: &str) -> T {
        self.parse_or(flag, text, T::placeholder(), wanted)
    }

    pub fn count<T: TryFrom<u64> + Default>(
        &mut self,
        flag: &str,
        text: &str,
        least: u64,
        most: u64,
    ) -> T {
        let number =
            text.trim().parse::<u64>().ok().filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_else(|| {
            self.add(flag, format!("must be a number from {least} to {most}, not {text:?}"));
            T::default()
        })
    }

    pub fn time(&mut self, flag: &str, text: &str, most: Duration) -> Duration {
        let time = humantime::parse_duration(text.trim()).ok();
        time.filter(|time| !time.is_zero() && *time <= most).unwrap_or_else(|| {
            let most = humantime::format_duration(most);
            self.add(
                flag,
                format!("must be a time such as 5s or 10m, at most {most}, not {text:?}"),
            );
            Duration::ZERO
        })
    }

    pub fn rate_limit(&mut self, limit: Option<&str>, burst: Option<&str>) -> Option<RateLimit> {
        let mut number = |flag: &str, text: Option<&str>| {
            let text = text.filter(|text| !text.trim().is_empty())?;
            NonZeroU32::new(self.count(flag, text, 1, u64::from(u32::MAX)))
        };
        let per_second = number("rate-limit", limit);
        let burst = number("rate-burst", burst);
        match (per_second, burst) {
            (Some(per_second), burst) => {
                Some(RateLimit { per_second, burst: burst.unwrap_or(per_second) })
            }
            (None, Some(_)) => {
                self.add("rate-burst", "needs --rate-limit too");
                None
            }
            (None, None) => None,
        }
    }

    /// Reads a secret from its flag or from a file; `None` if neither is given. Both together are a
    /// fault, because one of them would be ignored.
    pub fn secret(
        &mut self,
        flag: &str,
        text: Option<&str>,
        file: Option<&PathBuf>,
    ) -> Option<String> {
        match (text, file) {
            (Some(text), None) => Some(text.to_owned()),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) => Some(text.trim().to_owned()),
                Err(error) => {
                    self.add(
                        &format!("{flag}-file"),
                        format!("can't be read: {}: {error}", file.display()),
                    );
                    None
                }
            },
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.add(
                    flag,
                    format!("is given together with --{flag}-file: give only one of them"),
                );
                None
            }
        }
    }
}

/// A type with a placeholder for values that can't be parsed.
pub trait Placeholder {
    fn placeholder() -> Self;
}

impl Placeholder for SocketAddr {
    fn placeholder() -> Self {
        Self::from(([127, 0, 0, 1], 0))
    }
}

impl Placeholder for trailpad_common::failure::retry::RetrySchedule {
    fn placeholder() -> Self {
        Self::default()
    }
}
