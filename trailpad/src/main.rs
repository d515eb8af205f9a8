//! `trailpad`: the binary. Reads the command line and runs a role or a command.

mod args;
mod cli;
mod commands;
mod config;
mod engines;
mod error;
mod hint;
mod ops;
mod otlp;
mod render;
mod signals;
mod store_check;
mod telemetry;
mod welcome;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use error::Error;
use otlp::TraceConfig;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trailpad: {}", error.text());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let (level, format) = cli.log.config(cli.command.is_role())?;
    telemetry::start(level, format);
    let variables = std::env::vars().map(|(name, _)| name);
    config::warn_of_unknown_variables(&Cli::command(), variables);
    // Each connection needs a file descriptor, and the soft limit is often 1,024. If it can't be
    // raised, fewer connections fit.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dispatch(cli.command, cli.traces.config()?))
}

async fn dispatch(command: Command, traces: Option<TraceConfig>) -> Result<(), Error> {
    match command {
        Command::Serve(args) => commands::serve::run(&args, traces).await,
        Command::Migrate(args) => commands::migrate::run(&args).await,
        Command::Gateway(args) => commands::gateway::run(&args, traces).await,
        Command::Worker(args) => commands::worker::run(&args, traces).await,
        Command::Dashboard(args) => commands::dashboard::run(&args).await,
        Command::Health(args) => commands::health::run(&args).await,
        Command::Workspace(command) => commands::workspace::run(command).await,
        Command::Member(command) => commands::member::run(command).await,
        Command::Project(command) => commands::project::run(command).await,
        Command::Webhook(command) => commands::webhook::run(command).await,
        Command::Activity(command) => commands::activity::run(command).await,
        Command::Retry(command) => commands::retry::run(command).await,
        Command::DeadLetter(command) => commands::dead_letter::run(command).await,
        Command::Purge(args) => commands::purge::run(&args).await,
        Command::Backup(args) => commands::backup::run(args).await,
        Command::Openapi => {
            commands::openapi::run();
            Ok(())
        }
    }
}
