//! From words to settings: every fault is found and told at once.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::CommandFactory;
use tracing_subscriber::filter::LevelFilter;
use trailpad_engines::postgres;
use trailpad_engines::rabbitmq::RabbitQueue;
use trailpad_gateway::RateLimit;

use crate::cli::{Cli, DatabaseArgs, GatewayArgs, LogArgs, QueueArgs, WorkerArgs};
use crate::failure::Failure;
use crate::telemetry::Format;

/// Well below the broker's consumer timeout of 30 minutes.
const HOLD_MAX: Duration = Duration::from_secs(25 * 60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A text that nothing prints.
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The engines of a role.
pub struct Engines {
    pub database: postgres::Config,
    pub amqp_url: Secret,
    pub queue: String,
}

/// What a gateway runs with.
pub struct GatewayConfig {
    pub settings: trailpad_gateway::Settings,
    pub ops_listen: SocketAddr,
    pub public_url: Option<String>,
    pub engines: Engines,
}

/// What a worker runs with.
pub struct WorkerConfig {
    pub settings: trailpad_worker::Settings,
    pub ops_listen: SocketAddr,
    pub engines: Engines,
}

/// Reads a gateway's configuration.
pub fn gateway(args: &GatewayArgs) -> Result<GatewayConfig, Failure> {
    let mut faults = Faults::default();
    let f = &mut faults;
    let (b, default) = (&args.bounds, trailpad_gateway::Settings::default());
    let settings = trailpad_gateway::Settings {
        listen: f.parse("listen", &args.listen, "an address such as 127.0.0.1:8080"),
        http_threads: match &b.http_threads {
            Some(threads) => f.count("http-threads", threads, 1, 1_024),
            None => default.http_threads,
        },
        connections_max: f.count("connections-max", &b.connections_max, 1, 1_000_000),
        body_bytes_max: f.count("body-bytes-max", &b.body_bytes_max, 1_024, 16 << 20),
        in_flight_max: f.count("in-flight-max", &b.in_flight_max, 1, 1_000_000),
        in_flight_bytes_max: f.count(
            "in-flight-bytes-max",
            &b.in_flight_bytes_max,
            1 << 20,
            1 << 40,
        ),
        head_timeout: f.time("head-timeout", &b.head_timeout, DAY),
        body_timeout: f.time("body-timeout", &b.body_timeout, DAY),
        publish_timeout: f.time("publish-timeout", &b.publish_timeout, DAY),
        publish_slots: f.count("publish-slots", &b.publish_slots, 1, 64),
        batch_bytes_max: f.count("batch-bytes-max", &b.batch_bytes_max, 1_024, 8 << 20),
        rate_limit: f.rate_limit(b.rate_limit.as_deref(), b.rate_burst.as_deref()),
        directory_staleness_max: f.time(
            "directory-staleness-max",
            &b.directory_staleness_max,
            365 * DAY,
        ),
        drain_timeout: f.time("drain-timeout", &b.drain_timeout, DAY),
    };
    let ops_listen = f.parse("ops-listen", &args.ops_listen, "an address such as 127.0.0.1:9081");
    let engines = f.engines(&args.database, &args.queue, "gateway");
    match (faults.0.is_empty(), engines) {
        (true, Some(engines)) => {
            let public_url = args.public_url.clone();
            Ok(GatewayConfig { settings, ops_listen, public_url, engines })
        }
        _ => Err(Failure::Config(faults.0)),
    }
}

/// Reads a worker's configuration.
pub fn worker(args: &WorkerArgs) -> Result<WorkerConfig, Failure> {
    let mut faults = Faults::default();
    let f = &mut faults;
    let b = &args.bounds;
    let settings = trailpad_worker::Settings {
        prefetch_messages: f.count("prefetch-messages", &b.prefetch_messages, 1, 65_535),
        batch_activities_max: f.count("batch-activities-max", &b.batch_activities_max, 1, 10_000),
        lanes: f.count("lanes", &b.lanes, 1, 64),
        retry_schedule: f.parse(
            "retry-schedule",
            &b.retry_schedule,
            "delays such as 10s,1m,10m: at most 16, each from 100ms to 7days",
        ),
        hold_max: f.time("hold-max", &b.hold_max, HOLD_MAX),
        store_backoff_max: f.time("store-backoff-max", &b.store_backoff_max, DAY),
        drain_timeout: f.time("drain-timeout", &b.drain_timeout, DAY),
    };
    let ops_listen = f.parse("ops-listen", &args.ops_listen, "an address such as 127.0.0.1:9082");
    let engines = f.engines(&args.database, &args.queue, "worker");
    match (faults.0.is_empty(), engines) {
        (true, Some(engines)) => Ok(WorkerConfig { settings, ops_listen, engines }),
        _ => Err(Failure::Config(faults.0)),
    }
}

/// Reads where the database is.
pub fn database(args: &DatabaseArgs, role: &str) -> Result<postgres::Config, Failure> {
    let mut faults = Faults::default();
    let config = faults.database(args, role);
    config.ok_or(Failure::Config(faults.0))
}

/// Reads how to log.
pub fn log(args: &LogArgs) -> Result<(LevelFilter, Format), Failure> {
    let mut faults = Faults::default();
    let level =
        faults.parse_or("log", &args.level, LevelFilter::INFO, "error, warn, info, debug or trace");
    let format = Format::named(&args.format);
    if format.is_none() {
        faults.add("log-format", "must be human, json or auto");
    }
    match format {
        Some(format) if faults.0.is_empty() => Ok((level, format)),
        _ => Err(Failure::Config(faults.0)),
    }
}

/// Warns of variables that look like ours and are not: a typing error there would go unnoticed.
pub fn warn_of_unknown_variables(names: impl Iterator<Item = String>) {
    let known = known_variables();
    for name in names.filter(|name| name.starts_with("TRAILPAD_") && !known.contains(name)) {
        let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, &name));
        tracing::warn!(variable = name, nearest, "an environment variable that is not known here");
    }
}

fn known_variables() -> Vec<String> {
    fn gather(command: &clap::Command, known: &mut Vec<String>) {
        let variables = command.get_arguments().filter_map(|argument| argument.get_env());
        known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| gather(command, known));
    }
    let mut known = Vec::new();
    gather(&Cli::command(), &mut known);
    known.sort_unstable();
    known.dedup();
    known
}

/// Faults, gathered while reading on.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, flag: &str, what: impl Display) {
        let variable = format!("TRAILPAD_{}", flag.replace('-', "_").to_uppercase());
        self.0.push(format!("--{flag} (or {variable}) {what}"));
    }

    /// A value, or what stands in for it until all faults are found.
    fn parse_or<T: FromStr>(&mut self, flag: &str, text: &str, stand_in: T, wanted: &str) -> T {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(flag, format!("must be {wanted}, not {text:?}"));
            stand_in
        })
    }

    fn parse<T: FromStr + StandIn>(&mut self, flag: &str, text: &str, wanted: &str) -> T {
        self.parse_or(flag, text, T::stand_in(), wanted)
    }

    fn count<T: TryFrom<u64> + Default>(
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

    fn time(&mut self, flag: &str, text: &str, most: Duration) -> Duration {
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

    fn rate_limit(&mut self, limit: Option<&str>, burst: Option<&str>) -> Option<RateLimit> {
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

    fn engines(
        &mut self,
        database: &DatabaseArgs,
        queue: &QueueArgs,
        role: &str,
    ) -> Option<Engines> {
        let database = self.database(database, role);
        let amqp_url =
            self.secret("amqp-url", queue.amqp_url.as_deref(), queue.amqp_url_file.as_ref());
        // Only its form is looked at here: nothing connects yet.
        if let Some(url) = &amqp_url
            && let Err(error) = RabbitQueue::new(url, &queue.queue, role, &[])
        {
            self.add("amqp-url", format!("is {error}"));
        }
        if queue.queue.trim().is_empty() || queue.queue.len() > 200 {
            self.add("queue", "must be a name of 1 to 200 characters");
        }
        Some(Engines {
            database: database?,
            amqp_url: Secret(amqp_url?),
            queue: queue.queue.clone(),
        })
    }

    fn database(&mut self, args: &DatabaseArgs, role: &str) -> Option<postgres::Config> {
        let url = self.secret(
            "database-url",
            args.database_url.as_deref(),
            args.database_url_file.as_ref(),
        )?;
        let config = postgres::Config::parse(&url, role);
        config.map_err(|error| self.add("database-url", format!("is {error}"))).ok()
    }

    /// A secret given as itself or in a file; never both, because one would be ignored.
    fn secret(&mut self, flag: &str, text: Option<&str>, file: Option<&PathBuf>) -> Option<String> {
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
            (None, None) => {
                self.add(flag, "is missing");
                None
            }
            (Some(_), Some(_)) => {
                self.add(flag, format!("is given twice: as itself and as --{flag}-file"));
                None
            }
        }
    }
}

/// What a value is until all faults are found.
trait StandIn {
    fn stand_in() -> Self;
}

impl StandIn for SocketAddr {
    fn stand_in() -> Self {
        Self::from(([127, 0, 0, 1], 0))
    }
}

impl StandIn for trailpad_common::retry::RetrySchedule {
    fn stand_in() -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Command;

    fn worker_of(words: &[&str]) -> Result<WorkerConfig, Failure> {
        let words = ["trailpad", "worker"].iter().chain(words);
        match Cli::parse_from(words).command {
            Command::Worker(args) => worker(&args),
            _ => unreachable!("the words say worker"),
        }
    }

    const URLS: [&str; 4] =
        ["--database-url", "postgres://u:p@localhost/d", "--amqp-url", "amqp://localhost"];

    #[test]
    fn the_defaults_of_the_command_line_are_those_of_the_settings() {
        let config = worker_of(&URLS).unwrap_or_else(|failure| panic!("{failure}"));
        let default = trailpad_worker::Settings::default();
        assert_eq!(format!("{:?}", config.settings), format!("{default:?}"));
        let Command::Gateway(args) =
            Cli::parse_from(["trailpad", "gateway"].iter().chain(&URLS)).command
        else {
            unreachable!("the words say gateway")
        };
        let config = gateway(&args).unwrap_or_else(|failure| panic!("{failure}"));
        let default = trailpad_gateway::Settings::default();
        assert_eq!(format!("{:?}", config.settings), format!("{default:?}"));
    }

    #[test]
    fn every_fault_is_told_at_once_with_flag_and_variable() {
        let words = [
            "--lanes",
            "0",
            "--hold-max",
            "30m",
            "--retry-schedule",
            "soon",
            "--ops-listen",
            "here",
        ];
        let Err(Failure::Config(faults)) = worker_of(&words) else { panic!("refused") };
        let text = faults.join("\n");
        for flag in [
            "--lanes (or TRAILPAD_LANES)",
            "--hold-max",
            "--retry-schedule",
            "--ops-listen",
            "--database-url",
            "--amqp-url",
        ] {
            assert!(text.contains(flag), "{flag} in {text}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_quoting_it() {
        let words = ["--database-url", "mysql://u:SECRET@h/d", "--amqp-url", "http://u:SECRET@h"];
        let Err(Failure::Config(faults)) = worker_of(&words) else { panic!("refused") };
        assert_eq!(faults.len(), 2);
        assert!(!faults.join("").contains("SECRET"), "{faults:?}");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
