//! The command line. What is parsed further than words is parsed in `config`, which reports every
//! fault at once.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Trailpad ingest: takes activities from any tool over HTTP and stores each exactly once.
///
/// `trailpad serve` runs everything at once, without any server. To scale, run `gateway` and
/// `worker` on RabbitMQ and PostgreSQL. Every flag can be given as an environment variable,
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
    /// How much to log: error, warn, info, debug or trace [default: info; of commands: warn]
    #[arg(long = "log", env = "TRAILPAD_LOG", value_name = "LEVEL", global = true)]
    pub level: Option<String>,
    /// How log lines look: human, json, or auto (human on a terminal)
    #[arg(long = "log-format", env = "TRAILPAD_LOG_FORMAT", default_value = "auto", global = true)]
    pub format: String,
}

#[derive(Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// Where an OpenTelemetry collector takes OTLP over HTTP, such as http://127.0.0.1:4318
    /// [default: traces are off]
    #[arg(long, env = "TRAILPAD_OTLP_ENDPOINT", value_name = "URL", global = true)]
    pub otlp_endpoint: Option<String>,
    /// Of requests without a trace of their own, the share that is traced, from 0 to 1
    #[arg(
        long,
        env = "TRAILPAD_OTLP_SAMPLE_RATIO",
        default_value = "0.01",
        value_name = "RATIO",
        global = true
    )]
    pub otlp_sample_ratio: String,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run everything in this one process, on files of its own: no server is needed
    Serve(Box<ServeArgs>),
    /// Bring the store's schema to this version; safe to run from several places at once
    Migrate(MigrateArgs),
    /// Run a gateway: take activities over HTTP and hand them to the queue
    Gateway(Box<GatewayArgs>),
    /// Run a worker: take activities from the queue and store them; to scale out, run more
    Worker(Box<WorkerArgs>),
    /// Run the dashboard: pages where members make webhooks and see what arrives
    Dashboard(Box<DashboardArgs>),
    /// Ask a role on this machine whether it is ready; for health checks
    Health(HealthArgs),
    /// Create workspaces
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Add and list the members of a workspace
    #[command(subcommand)]
    Member(MemberCommand),
    /// Create and list the projects of a workspace
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Create, list, rotate and revoke webhooks
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Look at stored activities
    #[command(subcommand)]
    Activity(ActivityCommand),
    /// Look at activities that could not be stored, and repair them
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
    /// Delete what is older than a limit, in short batches
    Purge(PurgeArgs),
    /// Print the ingress's OpenAPI 3.1 document; a gateway serves it at /openapi.json
    Openapi,
}

impl Command {
    /// Whether it runs until it is told to stop.
    pub fn is_role(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Gateway(_) | Self::Worker(_) | Self::Dashboard(_))
    }
}

#[derive(Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// Where PostgreSQL is: postgres://user:password@host:5432/database?sslmode=require
    #[arg(long, env = "TRAILPAD_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// A file that holds the database URL, in place of the URL itself
    #[arg(long, env = "TRAILPAD_DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Database")]
pub struct StoreArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where the embedded files are, if no database URL is given [default: ./trailpad-data]
    #[arg(long, env = "TRAILPAD_DATA_DIR", value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Bounds")]
pub struct DrainArgs {
    /// How long what is in hand may take to finish after SIGTERM or Ctrl-C
    #[arg(long, env = "TRAILPAD_DRAIN_TIMEOUT", default_value = "25s", value_name = "TIME")]
    pub drain_timeout: String,
}

#[derive(Args)]
#[command(next_help_heading = "Queue")]
pub struct QueueArgs {
    /// Where RabbitMQ is: amqp://user:password@host:5672/vhost, or amqps:// for TLS
    #[arg(long, env = "TRAILPAD_AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub amqp_url: Option<String>,
    /// A file that holds the AMQP URL, in place of the URL itself
    #[arg(long, env = "TRAILPAD_AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// The queue's name; those for retries and dead letters are named after it
    #[arg(
        long,
        env = "TRAILPAD_QUEUE",
        default_value = "trailpad.activities",
        value_name = "NAME"
    )]
    pub queue: String,
}

impl QueueArgs {
    /// Whether a broker is named.
    pub fn is_given(&self) -> bool {
        self.amqp_url.is_some() || self.amqp_url_file.is_some()
    }
}

#[derive(Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Args)]
pub struct PurgeArgs {
    /// Activities received at least so long ago, such as 400days, and the dead letters that they
    /// settled; an externalId that goes with them is new if it is sent again
    #[arg(long, env = "TRAILPAD_ACTIVITIES_OLDER_THAN", value_name = "TIME")]
    pub activities_older_than: Option<String>,
    /// Dead letters that were given up at least so long ago, and are settled or discarded
    #[arg(long, env = "TRAILPAD_DEAD_LETTERS_OLDER_THAN", value_name = "TIME")]
    pub dead_letters_older_than: Option<String>,
    /// At most so many in one transaction
    #[arg(
        long,
        env = "TRAILPAD_PURGE_BATCH",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        value_name = "COUNT"
    )]
    pub batch: u32,
    /// Do it; without this it only says how many there are
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub args: CommandArgs,
}

#[derive(Args)]
pub struct HealthArgs {
    /// Where the role's /readyz is
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9081",
        value_name = "ADDRESS"
    )]
    pub ops_listen: String,
}

#[derive(Args)]
pub struct GatewayArgs {
    /// Where senders post to; port 0 takes a free one and the log says which
    #[arg(long, env = "TRAILPAD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// Where /livez, /readyz and /metrics are; keep it from the public
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9081",
        value_name = "ADDRESS"
    )]
    pub ops_listen: String,
    /// The URL under which senders reach this gateway, logged at the start
    #[arg(long, env = "TRAILPAD_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub bounds: GatewayBounds,
    #[command(flatten)]
    pub drain: DrainArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Bounds")]
pub struct GatewayBounds {
    /// Threads that serve HTTP [default: one for each core]
    #[arg(long, env = "TRAILPAD_HTTP_THREADS", value_name = "COUNT")]
    pub http_threads: Option<String>,
    /// Open connections at a time
    #[arg(long, env = "TRAILPAD_CONNECTIONS_MAX", default_value = "10000", value_name = "COUNT")]
    pub connections_max: String,
    /// The largest body in bytes, also once decompressed
    #[arg(long, env = "TRAILPAD_BODY_BYTES_MAX", default_value = "262144", value_name = "BYTES")]
    pub body_bytes_max: String,
    /// Requests in flight at a time; past it the answer is 503
    #[arg(long, env = "TRAILPAD_IN_FLIGHT_MAX", default_value = "8192", value_name = "COUNT")]
    pub in_flight_max: String,
    /// Bytes of bodies in flight at a time; past it the answer is 503
    #[arg(
        long,
        env = "TRAILPAD_IN_FLIGHT_BYTES_MAX",
        default_value = "134217728",
        value_name = "BYTES"
    )]
    pub in_flight_bytes_max: String,
    /// How long a request's head may take to arrive
    #[arg(long, env = "TRAILPAD_HEAD_TIMEOUT", default_value = "5s", value_name = "TIME")]
    pub head_timeout: String,
    /// How long a request's body may take to arrive
    #[arg(long, env = "TRAILPAD_BODY_TIMEOUT", default_value = "10s", value_name = "TIME")]
    pub body_timeout: String,
    /// How long a sender waits for the queue's confirm before it gets a 503
    #[arg(long, env = "TRAILPAD_PUBLISH_TIMEOUT", default_value = "5s", value_name = "TIME")]
    pub publish_timeout: String,
    /// Messages that may be unconfirmed at a time
    #[arg(long, env = "TRAILPAD_PUBLISH_SLOTS", default_value = "3", value_name = "COUNT")]
    pub publish_slots: String,
    /// The largest message in bytes, unless a single activity is larger
    #[arg(long, env = "TRAILPAD_BATCH_BYTES_MAX", default_value = "1048576", value_name = "BYTES")]
    pub batch_bytes_max: String,
    /// Activities a second that one webhook may post to this gateway; past it the answer is 429
    /// [default: no limit]
    #[arg(long, env = "TRAILPAD_RATE_LIMIT", value_name = "COUNT")]
    pub rate_limit: Option<String>,
    /// Activities one webhook may post at once after a quiet time [default: the rate limit]
    #[arg(long, env = "TRAILPAD_RATE_BURST", value_name = "COUNT")]
    pub rate_burst: Option<String>,
    /// How long known tokens are served while the database is away
    #[arg(
        long,
        env = "TRAILPAD_REGISTRY_STALENESS_MAX",
        default_value = "1h",
        value_name = "TIME"
    )]
    pub registry_staleness_max: String,
}

#[derive(Args)]
pub struct WorkerArgs {
    /// Where /livez, /readyz and /metrics are; keep it from the public
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9082",
        value_name = "ADDRESS"
    )]
    pub ops_listen: String,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub bounds: WorkerBounds,
    #[command(flatten)]
    pub drain: DrainArgs,
}

#[derive(Args)]
pub struct DashboardArgs {
    #[command(flatten)]
    pub pages: PagesArgs,
    /// Where /livez, /readyz and /metrics are; keep it from the public
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9083",
        value_name = "ADDRESS"
    )]
    pub ops_listen: String,
    #[command(flatten)]
    pub url: UrlArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub drain: DrainArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Dashboard")]
pub struct PagesArgs {
    /// Where the dashboard is; port 0 takes a free one
    #[arg(
        long,
        env = "TRAILPAD_DASHBOARD_LISTEN",
        default_value = "127.0.0.1:8090",
        value_name = "ADDRESS"
    )]
    pub dashboard_listen: String,
    /// The URL under which people reach the dashboard [default: the address it listens on]; with
    /// https, its cookies are for TLS alone
    #[arg(long, env = "TRAILPAD_DASHBOARD_URL", value_name = "URL")]
    pub dashboard_url: Option<String>,
    /// The header, such as X-Forwarded-For, to whose end the proxy before the dashboard writes where
    /// a request comes from [default: none, there is no proxy]; tries at passwords are counted by it
    #[arg(long, env = "TRAILPAD_CLIENT_ADDRESS_HEADER", value_name = "NAME")]
    pub client_address_header: Option<String>,
}

#[derive(Args)]
pub struct ServeArgs {
    /// Where senders post to; port 0 takes a free one
    #[arg(long, env = "TRAILPAD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// Where /livez, /readyz and /metrics are; keep it from the public
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9081",
        value_name = "ADDRESS"
    )]
    pub ops_listen: String,
    /// The URL under which senders reach this gateway [default: the address it listens on]
    #[arg(long, env = "TRAILPAD_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    #[command(flatten)]
    pub pages: PagesArgs,
    /// Who owns the workspace that a first start makes
    #[arg(long, env = "TRAILPAD_OWNER", default_value = "owner@example.com", value_name = "EMAIL")]
    pub owner: String,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Disk space that is kept free for storing what was accepted; below it the answer is 503
    #[arg(
        long,
        env = "TRAILPAD_FREE_BYTES_MIN",
        default_value = "67108864",
        value_name = "BYTES",
        help_heading = "Bounds"
    )]
    pub free_bytes_min: String,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub gateway: GatewayBounds,
    #[command(flatten)]
    pub worker: WorkerBounds,
    #[command(flatten)]
    pub drain: DrainArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Bounds")]
pub struct WorkerBounds {
    /// Messages in hand at a time
    #[arg(long, env = "TRAILPAD_PREFETCH_MESSAGES", default_value = "512", value_name = "COUNT")]
    pub prefetch_messages: String,
    /// Activities stored by one statement
    #[arg(
        long,
        env = "TRAILPAD_BATCH_ACTIVITIES_MAX",
        default_value = "2000",
        value_name = "COUNT"
    )]
    pub batch_activities_max: String,
    /// Batches worked at a time, each on a database connection of its own
    #[arg(long, env = "TRAILPAD_CONCURRENCY", default_value = "3", value_name = "COUNT")]
    pub concurrency: String,
    /// How long an activity that failed waits before each further attempt; after the last it is a
    /// dead letter
    #[arg(
        long,
        env = "TRAILPAD_RETRY_SCHEDULE",
        default_value = "10s,1m,10m",
        value_name = "TIMES"
    )]
    pub retry_schedule: String,
    /// How long messages are held while the database is away, before they go back to the queue
    /// unchanged; at most 25m, because the broker takes a consumer for dead after 30m
    #[arg(long, env = "TRAILPAD_HOLD_MAX", default_value = "10m", value_name = "TIME")]
    pub hold_max: String,
    /// The longest wait between two attempts to reach a database that is away
    #[arg(long, env = "TRAILPAD_STORE_BACKOFF_MAX", default_value = "15s", value_name = "TIME")]
    pub store_backoff_max: String,
}

/// What every command that looks or changes has.
#[derive(Args)]
pub struct CommandArgs {
    /// Print JSON, for programs
    #[arg(long, env = "TRAILPAD_JSON")]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Subcommand)]
pub enum WorkspaceCommand {
    /// Create a workspace and its owner
    Create {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_NAME")]
        name: String,
        /// The owner's e-mail address
        #[arg(long, env = "TRAILPAD_OWNER", value_name = "EMAIL")]
        owner: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Subcommand)]
pub enum MemberCommand {
    /// Add a member; activities with this memberEmail are then theirs
    Add {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: String,
        /// The member's e-mail address
        #[arg(long, env = "TRAILPAD_EMAIL")]
        email: String,
        /// owner, admin or member
        #[arg(long, default_value = "member", value_parser = ["owner", "admin", "member"])]
        role: String,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Print a link that signs a member in to the dashboard, once and within three days
    Invite {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: String,
        /// The member's e-mail address
        #[arg(long, env = "TRAILPAD_EMAIL")]
        email: String,
        /// The URL under which people reach the dashboard
        #[arg(
            long,
            env = "TRAILPAD_DASHBOARD_URL",
            default_value = "http://127.0.0.1:8090",
            value_name = "URL"
        )]
        dashboard_url: String,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// List the members of a workspace
    List {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Subcommand)]
pub enum ProjectCommand {
    /// Create a project
    Create {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: String,
        /// The project's name
        #[arg(long, env = "TRAILPAD_NAME")]
        name: String,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// List the projects of a workspace
    List {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Subcommand)]
pub enum WebhookCommand {
    /// Create a webhook and print its URL, which holds the secret token, this once
    Create {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: String,
        /// The project its activities belong to
        #[arg(long, env = "TRAILPAD_PROJECT")]
        project: String,
        /// The webhook's name, such as "My Custom CRM"
        #[arg(long, env = "TRAILPAD_NAME")]
        name: String,
        /// The member whom activities without memberEmail are assigned to
        #[arg(long, env = "TRAILPAD_CREATOR", value_name = "EMAIL")]
        creator: String,
        #[command(flatten)]
        url: UrlArgs,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// List webhooks, revoked ones included; never their tokens
    List {
        /// Only those of this workspace
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: Option<String>,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Give a webhook a new token and print its URL, this once
    Rotate {
        /// The webhook's id
        id: String,
        /// How long the old token stays valid
        #[arg(long, env = "TRAILPAD_GRACE", default_value = "0s", value_name = "TIME")]
        grace: String,
        #[command(flatten)]
        url: UrlArgs,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Revoke a webhook, for ever; what it accepted before is still stored
    Revoke {
        /// The webhook's id
        id: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Args)]
pub struct UrlArgs {
    /// The URL under which senders reach the gateway
    #[arg(
        long,
        env = "TRAILPAD_PUBLIC_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub public_url: String,
}

#[derive(Subcommand)]
pub enum ActivityCommand {
    /// List activities, newest received first
    List {
        /// Only those of this webhook
        #[arg(long, env = "TRAILPAD_WEBHOOK", value_name = "ID")]
        webhook: Option<String>,
        /// Only those of this externalId
        #[arg(long, env = "TRAILPAD_EXTERNAL_ID", value_name = "ID")]
        external_id: Option<String>,
        /// At most so many
        #[arg(long, env = "TRAILPAD_LIMIT", default_value_t = 20, value_name = "COUNT")]
        limit: u32,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// List open dead letters with their reason, the latest first
    List {
        #[command(flatten)]
        which: WhichArgs,
        /// Those that were settled, replayed or discarded too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, env = "TRAILPAD_LIMIT", default_value_t = 20, value_name = "COUNT")]
        limit: u32,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Show one in full
    Show {
        /// The dead letter's id, which is its activity's
        id: String,
        /// Print its payload, as it was sent, and nothing else
        #[arg(long)]
        payload: bool,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Give open dead letters to the queue once more; each is stored at most once
    Replay {
        /// One dead letter's id
        id: Option<String>,
        #[command(flatten)]
        which: WhichArgs,
        /// Every open one
        #[arg(long)]
        all: bool,
        /// Only say how many there are
        #[arg(long)]
        dry_run: bool,
        /// At most so many a second
        #[arg(
            long,
            env = "TRAILPAD_REPLAY_RATE",
            default_value_t = 500,
            value_parser = clap::value_parser!(u32).range(1..=100_000),
            value_name = "COUNT"
        )]
        rate: u32,
        /// Who does it, for the record
        #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
        by: String,
        #[command(flatten)]
        queue: QueueArgs,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Mark open dead letters as not wanted
    Discard {
        /// One dead letter's id
        id: Option<String>,
        #[command(flatten)]
        which: WhichArgs,
        /// Every open one
        #[arg(long)]
        all: bool,
        /// Do it; without this it only says how many there are
        #[arg(long)]
        yes: bool,
        /// Who does it, for the record
        #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
        by: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct WhichArgs {
    /// Only those of this workspace
    #[arg(long, env = "TRAILPAD_WORKSPACE", value_name = "NAME")]
    pub workspace: Option<String>,
    /// Only those of this webhook
    #[arg(long, env = "TRAILPAD_WEBHOOK", value_name = "ID")]
    pub webhook: Option<String>,
    /// Only those that are dead for this reason, such as unknown-member
    #[arg(long, env = "TRAILPAD_REASON")]
    pub reason: Option<String>,
    /// Only those that name this member
    #[arg(long, env = "TRAILPAD_MEMBER", value_name = "EMAIL")]
    pub member: Option<String>,
    /// Only those given up at least so long ago
    #[arg(long, env = "TRAILPAD_OLDER_THAN", value_name = "TIME")]
    pub older_than: Option<String>,
}
