//! `trailpad`: the one binary. Reads the command line, chooses engines, runs roles or a command.

mod cli;
mod commands;
mod config;
mod dead_letters;
mod engines;
mod error;
mod health;
mod hint;
mod ops;
mod otlp;
mod purge;
mod render;
mod roles;
mod serve;
mod signals;
mod telemetry;
mod welcome;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use error::Error;
use otlp::TraceConfig;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trailpad: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let (level, format) = config::log(&cli.log, cli.command.is_role())?;
    telemetry::start(level, format);
    config::warn_of_unknown_variables(std::env::vars().map(|(name, _)| name));
    // Connections are files; the soft limit is often 1,024. Where it can't be raised, fewer fit.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dispatch(cli.command, config::traces(&cli.traces)?))
}

async fn dispatch(command: Command, traces: Option<TraceConfig>) -> Result<(), Error> {
    match command {
        Command::Serve(args) => serve::serve(config::serve(&args)?, traces).await,
        Command::Migrate(args) => commands::migrate(args).await,
        Command::Gateway(args) => roles::gateway(config::gateway(&args)?, traces).await,
        Command::Worker(args) => roles::worker(config::worker(&args)?, traces).await,
        Command::Dashboard(args) => roles::dashboard(config::dashboard(&args)?).await,
        Command::Health(args) => health::health(&args).await,
        Command::Workspace(command) => commands::workspace(command).await,
        Command::Member(command) => commands::member(command).await,
        Command::Project(command) => commands::project(command).await,
        Command::Webhook(command) => commands::webhook(command).await,
        Command::Activity(command) => commands::activity(command).await,
        Command::DeadLetter(command) => dead_letters::dead_letter(command).await,
        Command::Purge(args) => purge::purge(&args).await,
        Command::Openapi => {
            print!("{}", trailpad_gateway::openapi());
            Ok(())
        }
    }
}
