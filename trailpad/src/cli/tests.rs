use clap::CommandFactory;
use trailpad_gateway::Settings as GatewaySettings;
use trailpad_worker::Settings as WorkerSettings;

use super::*;
use crate::commands::dashboard::DashboardConfig;
use crate::commands::gateway::GatewayConfig;
use crate::commands::serve::ServeConfig;
use crate::commands::worker::WorkerConfig;
use crate::config::{QueueConfig, StoreConfig};

const URLS: [&str; 4] =
    ["--database-url", "postgres://u:p@localhost/d", "--amqp-url", "amqp://localhost"];

fn parse(command: &str, flags: &[&str]) -> Command {
    Cli::parse_from(["trailpad", command].iter().chain(flags)).command
}

fn gateway(flags: &[&str]) -> Result<GatewayConfig, Error> {
    let Command::Gateway(args) = parse("gateway", flags) else { unreachable!() };
    args.config()
}

fn worker(flags: &[&str]) -> Result<WorkerConfig, Error> {
    let Command::Worker(args) = parse("worker", flags) else { unreachable!() };
    args.config()
}

fn dashboard(flags: &[&str]) -> Result<DashboardConfig, Error> {
    let Command::Dashboard(args) = parse("dashboard", flags) else { unreachable!() };
    args.config()
}

fn serve(flags: &[&str]) -> Result<ServeConfig, Error> {
    let Command::Serve(args) = parse("serve", flags) else { unreachable!() };
    args.config()
}

fn faults<T>(config: Result<T, Error>) -> Vec<String> {
    match config {
        Err(Error::Config(faults)) => faults,
        _ => panic!("the configuration should be rejected"),
    }
}

#[test]
fn the_defaults_of_the_command_line_are_those_of_the_settings() {
    let config = worker(&URLS).unwrap_or_else(|error| panic!("{error}"));
    let default = WorkerSettings::default();
    assert_eq!(format!("{:?}", config.settings), format!("{default:?}"));
    let config = gateway(&URLS).unwrap_or_else(|error| panic!("{error}"));
    let default = GatewaySettings::default();
    assert_eq!(format!("{:?}", config.settings), format!("{default:?}"));
}

#[test]
fn every_role_has_its_own_default_for_the_operators_port() {
    let port = |address: std::net::SocketAddr| address.port();
    assert_eq!(gateway(&URLS).map(|config| port(config.ops_listen)).ok(), Some(9081));
    assert_eq!(worker(&URLS).map(|config| port(config.ops_listen)).ok(), Some(9082));
    assert_eq!(dashboard(&URLS).map(|config| port(config.ops_listen)).ok(), Some(9083));
    assert_eq!(serve(&[]).map(|config| port(config.ops_listen)).ok(), Some(9081));
}

#[test]
fn without_urls_serve_runs_on_files() {
    let files = serve(&["--data-dir", "here"]).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(files.engines.store, StoreConfig::Files));
    assert!(matches!(files.engines.queue, QueueConfig::Files));
    assert_eq!(files.engines.data_dir.path(), std::path::Path::new("here"));
}

#[test]
fn with_urls_serve_runs_on_servers() {
    let servers = serve(&URLS).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(servers.engines.store, StoreConfig::Postgres(_)));
    assert!(matches!(servers.engines.queue, QueueConfig::RabbitMq(_)));
}

#[test]
fn a_single_role_without_urls_is_rejected_and_the_faults_name_serve() {
    let faults = faults(worker(&["--data-dir", "here"]));
    assert_eq!(faults.len(), 2);
    assert!(faults.iter().all(|fault| fault.contains("trailpad serve")), "{faults:?}");
}

#[test]
fn every_fault_is_reported_at_once_with_flag_and_variable() {
    let flags = [
        "--concurrency",
        "0",
        "--hold-max",
        "30m",
        "--retry-schedule",
        "soon",
        "--ops-listen",
        "here",
    ];
    let text = faults(worker(&flags)).join("\n");
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
fn the_client_address_header_is_optional_and_must_be_a_valid_name() {
    let header = |flags: &[&str]| {
        let config = dashboard(&[&URLS, flags].concat());
        config.map(|config| config.settings.client_address_header)
    };
    assert!(header(&[]).is_ok_and(|header| header.is_none()));
    let named = header(&["--client-address-header", "X-Forwarded-For"]);
    assert!(named.is_ok_and(|name| name.is_some_and(|name| name == "x-forwarded-for")));
    assert!(header(&["--client-address-header", "X Forwarded For"]).is_err());
}

#[test]
fn a_wrong_url_is_rejected_without_quoting_it() {
    let urls = ["--database-url", "mysql://u:SECRET@h/d", "--amqp-url", "http://u:SECRET@h"];
    let faults = faults(worker(&urls));
    assert_eq!(faults.len(), 2);
    assert!(!faults.join("").contains("SECRET"), "{faults:?}");
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}
