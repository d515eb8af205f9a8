//! Faults of a configuration: gathered, so that all of them are told together.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use trailpad_gateway::RateLimit;

use crate::error::Error;

/// Faults, gathered while reading on.
#[derive(Default)]
pub(super) struct Faults(pub Vec<String>);

impl Faults {
    /// Notes what is wrong with a flag.
    pub fn add(&mut self, flag: &str, what: impl Display) {
        let variable = format!("TRAILPAD_{}", flag.replace('-', "_").to_uppercase());
        self.0.push(format!("--{flag} (or {variable}) {what}"));
    }

    /// What was read, unless there was a fault.
    pub fn none<T>(self, read: Option<T>) -> Result<T, Error> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(Error::Config(self.0)),
        }
    }

    /// A value, or what stands in for it until all faults are found.
    pub fn parse_or<T: FromStr>(&mut self, flag: &str, text: &str, stand_in: T, wanted: &str) -> T {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(flag, format!("must be {wanted}, not {text:?}"));
            stand_in
        })
    }

    pub fn parse<T: FromStr + StandIn>(&mut self, flag: &str, text: &str, wanted: &str) -> T {
        self.parse_or(flag, text, T::stand_in(), wanted)
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
        let (per_second, burst) = (number("rate-limit", limit), number("rate-burst", burst));
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

    /// A secret given as itself or in a file, if it is given; never both, because one would be
    /// ignored.
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
                self.add(flag, format!("is given twice: as itself and as --{flag}-file"));
                None
            }
        }
    }
}

/// What a value is until all faults are found.
pub(super) trait StandIn {
    fn stand_in() -> Self;
}

impl StandIn for SocketAddr {
    fn stand_in() -> Self {
        Self::from(([127, 0, 0, 1], 0))
    }
}

impl StandIn for trailpad_common::failure::retry::RetrySchedule {
    fn stand_in() -> Self {
        Self::default()
    }
}
