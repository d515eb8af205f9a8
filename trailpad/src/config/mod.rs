//! From words to settings: every fault is found and told at once.

mod engines;
mod faults;

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName};
use clap::CommandFactory;
use tracing_subscriber::filter::LevelFilter;
use trailpad_common::email::Email;

use crate::cli::{
    Cli, DashboardArgs, DrainArgs, GatewayArgs, GatewayBounds, LogArgs, PagesArgs, QueueArgs,
    ServeArgs, StoreArgs, TraceArgs, WorkerArgs, WorkerBounds,
};
use crate::error::Error;
use crate::otlp::TraceConfig;
use crate::telemetry::Format;
pub use engines::{Engines, QueueEngine, StoreEngine, data_dir};
use faults::Faults;

/// Well below the broker's consumer timeout of 30 minutes.
const HOLD_MAX: Duration = Duration::from_secs(25 * 60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

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

/// What a dashboard runs with.
pub struct DashboardConfig {
    pub settings: trailpad_dashboard::Settings,
    pub ops_listen: SocketAddr,
    pub engines: Engines,
}

/// What `serve` runs with.
pub struct ServeConfig {
    pub pages: PagesConfig,
    pub gateway: trailpad_gateway::Settings,
    pub worker: trailpad_worker::Settings,
    pub ops_listen: SocketAddr,
    pub public_url: Option<String>,
    pub owner: Email,
    pub engines: Engines,
}

/// Reads a gateway's configuration.
pub fn gateway(args: &GatewayArgs) -> Result<GatewayConfig, Error> {
    let mut faults = Faults::default();
    let settings = gateway_settings(&mut faults, &args.listen, &args.bounds, &args.drain);
    let ops_listen = ops_listen(&mut faults, &args.ops_listen);
    let engines = faults.servers(&args.store, &args.queue, "gateway");
    let public_url = args.public_url.clone();
    faults.none(engines.map(|engines| GatewayConfig { settings, ops_listen, public_url, engines }))
}

/// Reads a worker's configuration.
pub fn worker(args: &WorkerArgs) -> Result<WorkerConfig, Error> {
    let mut faults = Faults::default();
    let settings = worker_settings(&mut faults, &args.bounds, &args.drain);
    let ops_listen = ops_listen(&mut faults, &args.ops_listen);
    let engines = faults.servers(&args.store, &args.queue, "worker");
    faults.none(engines.map(|engines| WorkerConfig { settings, ops_listen, engines }))
}

/// Where the dashboard is.
pub struct PagesConfig {
    pub listen: SocketAddr,
    pub url: Option<String>,
    pub client_address_header: Option<HeaderName>,
}

impl PagesConfig {
    /// The settings, where senders reach a gateway under this URL.
    pub fn settings(
        self,
        ingress_url: String,
        drain_timeout: Duration,
    ) -> trailpad_dashboard::Settings {
        trailpad_dashboard::Settings {
            listen: self.listen,
            ingress_url,
            dashboard_url: self.url,
            client_address_header: self.client_address_header,
            drain_timeout,
        }
    }
}

/// Reads a dashboard's configuration.
pub fn dashboard(args: &DashboardArgs) -> Result<DashboardConfig, Error> {
    let mut faults = Faults::default();
    let pages = pages(&mut faults, &args.pages);
    let drain_timeout = faults.time("drain-timeout", &args.drain.drain_timeout, DAY);
    let ops_listen = ops_listen(&mut faults, &args.ops_listen);
    let engines = faults.servers(&args.store, &args.queue, "dashboard");
    let settings = pages.settings(args.url.public_url.clone(), drain_timeout);
    faults.none(engines.map(|engines| DashboardConfig { settings, ops_listen, engines }))
}

fn pages(faults: &mut Faults, args: &PagesArgs) -> PagesConfig {
    let url = args.dashboard_url.clone();
    if url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        faults.add("dashboard-url", "must be a URL such as https://trailpad.example.com");
    }
    let client_address_header = args.client_address_header.as_ref().map(|name| {
        let wanted = "the name of a header such as X-Forwarded-For";
        faults.parse_or("client-address-header", name, header::FORWARDED, wanted)
    });
    let wanted = "an address such as 127.0.0.1:8090";
    PagesConfig {
        listen: faults.parse("dashboard-listen", &args.dashboard_listen, wanted),
        url,
        client_address_header,
    }
}

/// Reads the configuration of `serve`.
pub fn serve(args: &ServeArgs) -> Result<ServeConfig, Error> {
    let mut faults = Faults::default();
    let gateway = gateway_settings(&mut faults, &args.listen, &args.gateway, &args.drain);
    let worker = worker_settings(&mut faults, &args.worker, &args.drain);
    let ops_listen = ops_listen(&mut faults, &args.ops_listen);
    let pages = pages(&mut faults, &args.pages);
    let owner = Email::parse(&args.owner)
        .map_err(|error| faults.add("owner", format!("is {error}: {:?}", args.owner)));
    let engines = faults.engines(&args.store, &args.queue, &args.free_bytes_min);
    let public_url = args.public_url.clone();
    faults.none(engines.zip(owner.ok()).map(|(engines, owner)| ServeConfig {
        pages,
        gateway,
        worker,
        ops_listen,
        public_url,
        owner,
        engines,
    }))
}

/// Reads which store a command works on.
pub fn store(args: &StoreArgs) -> Result<StoreEngine, Error> {
    let mut faults = Faults::default();
    let store = faults.store(args, "command");
    faults.none(store)
}

/// Reads the engines of a command that publishes.
pub fn replay_engines(store: &StoreArgs, queue: &QueueArgs) -> Result<Engines, Error> {
    let mut faults = Faults::default();
    let engines = faults.engines_beside(store, queue);
    faults.none(engines)
}

fn ops_listen(faults: &mut Faults, text: &str) -> SocketAddr {
    faults.parse("ops-listen", text, "an address such as 127.0.0.1:9081")
}

fn gateway_settings(
    f: &mut Faults,
    listen: &str,
    b: &GatewayBounds,
    drain: &DrainArgs,
) -> trailpad_gateway::Settings {
    trailpad_gateway::Settings {
        listen: f.parse("listen", listen, "an address such as 127.0.0.1:8080"),
        http_threads: match &b.http_threads {
            Some(threads) => f.count("http-threads", threads, 1, 1_024),
            None => trailpad_gateway::Settings::default().http_threads,
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
        registry_staleness_max: f.time(
            "registry-staleness-max",
            &b.registry_staleness_max,
            365 * DAY,
        ),
        drain_timeout: f.time("drain-timeout", &drain.drain_timeout, DAY),
    }
}

fn worker_settings(
    f: &mut Faults,
    b: &WorkerBounds,
    drain: &DrainArgs,
) -> trailpad_worker::Settings {
    trailpad_worker::Settings {
        prefetch_messages: f.count("prefetch-messages", &b.prefetch_messages, 1, 65_535),
        batch_activities_max: f.count("batch-activities-max", &b.batch_activities_max, 1, 10_000),
        concurrency: f.count("concurrency", &b.concurrency, 1, 64),
        retry_schedule: f.parse(
            "retry-schedule",
            &b.retry_schedule,
            "delays such as 10s,1m,10m: at most 16, each from 100ms to 7days",
        ),
        hold_max: f.time("hold-max", &b.hold_max, HOLD_MAX),
        store_backoff_max: f.time("store-backoff-max", &b.store_backoff_max, DAY),
        drain_timeout: f.time("drain-timeout", &drain.drain_timeout, DAY),
    }
}

/// Reads whether and how to trace.
pub fn traces(args: &TraceArgs) -> Result<Option<TraceConfig>, Error> {
    let Some(endpoint) = &args.otlp_endpoint else { return Ok(None) };
    let mut faults = Faults::default();
    if !endpoint.starts_with("http://") {
        faults.add("otlp-endpoint", "must be an http:// URL, of a collector that is near");
    }
    let wanted = "a number from 0 to 1";
    let sample_ratio = faults.parse_or("otlp-sample-ratio", &args.otlp_sample_ratio, 0.0, wanted);
    if !(0.0..=1.0).contains(&sample_ratio) {
        faults.add("otlp-sample-ratio", format!("must be {wanted}"));
    }
    faults.none(Some(Some(TraceConfig { endpoint: endpoint.clone(), sample_ratio })))
}

/// Reads how to log.
pub fn log(args: &LogArgs, is_role: bool) -> Result<(LevelFilter, Format), Error> {
    let mut faults = Faults::default();
    let usual = if is_role { LevelFilter::INFO } else { LevelFilter::WARN };
    let level = match &args.level {
        Some(level) => faults.parse_or("log", level, usual, "error, warn, info, debug or trace"),
        None => usual,
    };
    let format = Format::named(&args.format);
    if format.is_none() {
        faults.add("log-format", "must be human, json or auto");
    }
    match format {
        Some(format) if faults.0.is_empty() => Ok((level, format)),
        _ => Err(Error::Config(faults.0)),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Command;

    fn worker_of(words: &[&str]) -> Result<WorkerConfig, Error> {
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
    fn without_urls_serve_runs_on_files_and_a_single_role_is_refused_with_the_way_out() {
        let serve_of =
            |words: &[&str]| match Cli::parse_from(["trailpad", "serve"].iter().chain(words))
                .command
            {
                Command::Serve(args) => serve(&args),
                _ => unreachable!("the words say serve"),
            };
        let files = serve_of(&["--data-dir", "here"]).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(matches!(files.engines.store, StoreEngine::Sqlite));
        assert!(matches!(files.engines.queue, QueueEngine::Sqlite { .. }));
        assert_eq!(files.engines.data_dir.path(), std::path::Path::new("here"));
        let servers = serve_of(&URLS).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(matches!(servers.engines.store, StoreEngine::Postgres(_)));
        assert!(matches!(servers.engines.queue, QueueEngine::RabbitMq { .. }));
        let Err(Error::Config(faults)) = worker_of(&["--data-dir", "here"]) else {
            panic!("refused")
        };
        assert_eq!(faults.len(), 2);
        assert!(faults.iter().all(|fault| fault.contains("trailpad serve")), "{faults:?}");
    }

    #[test]
    fn every_fault_is_told_at_once_with_flag_and_variable() {
        let words = [
            "--concurrency",
            "0",
            "--hold-max",
            "30m",
            "--retry-schedule",
            "soon",
            "--ops-listen",
            "here",
        ];
        let Err(Error::Config(faults)) = worker_of(&words) else { panic!("refused") };
        let text = faults.join("\n");
        for flag in [
            "--concurrency (or TRAILPAD_CONCURRENCY)",
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
    fn the_header_of_the_client_s_address_is_none_or_the_name_of_one() {
        let header_of = |words: &[&str]| {
            let words = ["trailpad", "dashboard"].iter().chain(&URLS).chain(words);
            match Cli::parse_from(words).command {
                Command::Dashboard(args) => {
                    dashboard(&args).map(|config| config.settings.client_address_header)
                }
                _ => unreachable!("the words say dashboard"),
            }
        };
        assert!(header_of(&[]).is_ok_and(|header| header.is_none()));
        let named = header_of(&["--client-address-header", "X-Forwarded-For"]);
        assert!(named.is_ok_and(|header| header == Some(header::X_FORWARDED_FOR)));
        assert!(header_of(&["--client-address-header", "X Forwarded For"]).is_err());
    }

    #[test]
    fn a_wrong_url_is_refused_without_quoting_it() {
        let words = ["--database-url", "mysql://u:SECRET@h/d", "--amqp-url", "http://u:SECRET@h"];
        let Err(Error::Config(faults)) = worker_of(&words) else { panic!("refused") };
        assert_eq!(faults.len(), 2);
        assert!(!faults.join("").contains("SECRET"), "{faults:?}");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
