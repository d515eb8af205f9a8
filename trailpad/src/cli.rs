//! The command line: global arguments and the list of commands. Each command's own arguments stand
//! in its file below `commands`.

#[cfg(test)]
mod tests;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use crate::commands::activity::ActivityCommand;
use crate::commands::backup::BackupArgs;
use crate::commands::dashboard::DashboardArgs;
use crate::commands::dead_letter::DeadLetterCommand;
use crate::commands::gateway::GatewayArgs;
use crate::commands::health::HealthArgs;
use crate::commands::member::MemberCommand;
use crate::commands::migrate::MigrateArgs;
use crate::commands::project::ProjectCommand;
use crate::commands::purge::PurgeArgs;
use crate::commands::retry::RetryCommand;
use crate::commands::serve::ServeArgs;
use crate::commands::webhook::WebhookCommand;
use crate::commands::worker::WorkerArgs;
use crate::commands::workspace::WorkspaceCommand;
use crate::config::Faults;
use crate::error::Error;
use crate::otlp::TraceConfig;
use crate::telemetry::Format;

/// Trailpad ingest: accepts activities from any tool over HTTP and stores each exactly once.
///
/// `trailpad serve` runs everything in one process, without any server. To scale, run `gateway`
/// and `worker` on RabbitMQ and PostgreSQL. Every flag can be given as an environment variable,
/// secrets also as a file.
#[derive(Parser)]
#[command(name = "trailpad", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub traces: TraceArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Log level: error, warn, info, debug or trace [default: info for roles, warn for commands]
    #[arg(long = "log", env = "TRAILPAD_LOG", value_name = "LEVEL", global = true)]
    level: Option<String>,
    /// Log format: human, json, or auto (human on a terminal)
    #[arg(long = "log-format", env = "TRAILPAD_LOG_FORMAT", default_value = "auto", global = true)]
    format: String,
}

#[derive(Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// The URL of an OpenTelemetry collector that accepts OTLP over HTTP, such as
    /// http://127.0.0.1:4318 [default: traces are off]
    #[arg(long, env = "TRAILPAD_OTLP_ENDPOINT", value_name = "URL", global = true)]
    otlp_endpoint: Option<String>,
    /// Share of requests without a trace context that are traced, from 0 to 1
    #[arg(
        long,
        env = "TRAILPAD_OTLP_SAMPLE_RATIO",
        default_value = "0.01",
        value_name = "RATIO",
        global = true
    )]
    otlp_sample_ratio: String,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run every role in this process, with embedded files: no server is needed
    Serve(Box<ServeArgs>),
    /// Migrate the store's schema to this version; safe to run from several hosts at once
    Migrate(MigrateArgs),
    /// Run a gateway: accepts activities over HTTP and publishes them to the queue
    Gateway(Box<GatewayArgs>),
    /// Run a worker: takes activities from the queue and stores them; to scale out, run more
    Worker(Box<WorkerArgs>),
    /// Run the dashboard: web pages to manage webhooks and to see incoming activities
    Dashboard(Box<DashboardArgs>),
    /// Check whether a role on this machine is ready; for health checks
    Health(HealthArgs),
    /// Create workspaces
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Add, invite and list the members of a workspace
    #[command(subcommand)]
    Member(MemberCommand),
    /// Create and list the projects of a workspace
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Create, list, rotate and revoke webhooks
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// List stored activities
    #[command(subcommand)]
    Activity(ActivityCommand),
    /// List activities that wait for another attempt, and attempt them now
    #[command(subcommand)]
    Retry(RetryCommand),
    /// List, show, replay and discard activities that could not be stored
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
    /// Delete records older than a limit, in short transactions
    Purge(PurgeArgs),
    /// Back up the embedded files while serve runs
    Backup(BackupArgs),
    /// Print the ingress's OpenAPI 3.1 document; a gateway serves it at /openapi.json
    Openapi,
}

impl Command {
    /// `true` if the command runs until it receives a signal.
    pub fn is_role(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Gateway(_) | Self::Worker(_) | Self::Dashboard(_))
    }
}

impl LogArgs {
    pub fn config(&self, is_role: bool) -> Result<(LevelFilter, Format), Error> {
        let mut faults = Faults::default();
        let default = if is_role { LevelFilter::INFO } else { LevelFilter::WARN };
        let wanted = "error, warn, info, debug or trace";
        let level = match &self.level {
            Some(level) => faults.parse_or("log", level, default, wanted),
            None => default,
        };
        let format = Format::named(&self.format);
        if format.is_none() {
            faults.add("log-format", "must be human, json or auto");
        }
        faults.finish(format.map(|format| (level, format)))
    }
}

impl TraceArgs {
    /// `None` if traces are off.
    pub fn config(&self) -> Result<Option<TraceConfig>, Error> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        let mut faults = Faults::default();
        if !endpoint.starts_with("http://") {
            faults.add("otlp-endpoint", "must be an http:// URL, of a collector nearby");
        }
        let wanted = "a number from 0 to 1";
        let sample_ratio =
            faults.parse_or("otlp-sample-ratio", &self.otlp_sample_ratio, 0.0, wanted);
        if !(0.0..=1.0).contains(&sample_ratio) {
            faults.add("otlp-sample-ratio", format!("must be {wanted}"));
        }
        faults.finish(Some(Some(TraceConfig { endpoint: endpoint.clone(), sample_ratio })))
    }
}
