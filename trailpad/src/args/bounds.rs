//! The bounds of the roles, which `serve` shares with `gateway` and `worker`.

use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Bounds")]
pub struct DrainArgs {
    /// Time to finish accepted work after SIGTERM or Ctrl-C
    #[arg(long, env = "TRAILPAD_DRAIN_TIMEOUT", default_value = "25s", value_name = "TIME")]
    pub drain_timeout: String,
}

#[derive(Args)]
#[command(next_help_heading = "Bounds")]
pub struct GatewayBounds {
    /// Threads that serve HTTP [default: one per core]
    #[arg(long, env = "TRAILPAD_HTTP_THREADS", value_name = "COUNT")]
    pub http_threads: Option<String>,
    /// Maximum number of open connections
    #[arg(long, env = "TRAILPAD_CONNECTIONS_MAX", default_value = "10000", value_name = "COUNT")]
    pub connections_max: String,
    /// Maximum size of a body in bytes, also after decompression
    #[arg(long, env = "TRAILPAD_BODY_BYTES_MAX", default_value = "262144", value_name = "BYTES")]
    pub body_bytes_max: String,
    /// Maximum number of concurrent requests; above it the response is 503
    #[arg(long, env = "TRAILPAD_IN_FLIGHT_MAX", default_value = "8192", value_name = "COUNT")]
    pub in_flight_max: String,
    /// Maximum bytes of bodies held by concurrent requests; above it the response is 503
    #[arg(
        long,
        env = "TRAILPAD_IN_FLIGHT_BYTES_MAX",
        default_value = "134217728",
        value_name = "BYTES"
    )]
    pub in_flight_bytes_max: String,
    /// Maximum time for a request's head to arrive
    #[arg(long, env = "TRAILPAD_HEAD_TIMEOUT", default_value = "5s", value_name = "TIME")]
    pub head_timeout: String,
    /// Maximum time for a request's body to arrive
    #[arg(long, env = "TRAILPAD_BODY_TIMEOUT", default_value = "10s", value_name = "TIME")]
    pub body_timeout: String,
    /// Maximum time a request waits for the queue's confirm before the response is 503
    #[arg(long, env = "TRAILPAD_PUBLISH_TIMEOUT", default_value = "5s", value_name = "TIME")]
    pub publish_timeout: String,
    /// Maximum number of unconfirmed messages
    #[arg(long, env = "TRAILPAD_PUBLISH_SLOTS", default_value = "3", value_name = "COUNT")]
    pub publish_slots: String,
    /// Maximum size of a message in bytes, unless a single activity is larger
    #[arg(long, env = "TRAILPAD_BATCH_BYTES_MAX", default_value = "1048576", value_name = "BYTES")]
    pub batch_bytes_max: String,
    /// Maximum activities per second from one webhook to this gateway; above it the response is 429
    /// [default: no limit]
    #[arg(long, env = "TRAILPAD_RATE_LIMIT", value_name = "COUNT")]
    pub rate_limit: Option<String>,
    /// Maximum burst of activities from one webhook after a quiet period [default: the rate limit]
    #[arg(long, env = "TRAILPAD_RATE_BURST", value_name = "COUNT")]
    pub rate_burst: Option<String>,
    /// Maximum time known tokens are accepted while the database is unavailable
    #[arg(
        long,
        env = "TRAILPAD_REGISTRY_STALENESS_MAX",
        default_value = "1h",
        value_name = "TIME"
    )]
    pub registry_staleness_max: String,
}

#[derive(Args)]
#[command(next_help_heading = "Bounds")]
pub struct WorkerBounds {
    /// Maximum number of unacknowledged messages
    #[arg(long, env = "TRAILPAD_PREFETCH_MESSAGES", default_value = "512", value_name = "COUNT")]
    pub prefetch_messages: String,
    /// Maximum number of activities stored by one statement
    #[arg(
        long,
        env = "TRAILPAD_BATCH_ACTIVITIES_MAX",
        default_value = "2000",
        value_name = "COUNT"
    )]
    pub batch_activities_max: String,
    /// Batches processed concurrently, each on its own database connection
    #[arg(long, env = "TRAILPAD_CONCURRENCY", default_value = "3", value_name = "COUNT")]
    pub concurrency: String,
    /// Delay before each further attempt to store a failed activity; after the last attempt it
    /// becomes a dead letter
    #[arg(
        long,
        env = "TRAILPAD_RETRY_SCHEDULE",
        default_value = "10s,1m,10m",
        value_name = "TIMES"
    )]
    pub retry_schedule: String,
    /// Maximum bytes of the activities that wait for a retry; one webhook may use a quarter, and above
    /// it a failed activity becomes a dead letter at once
    #[arg(
        long,
        env = "TRAILPAD_RETRIES_BYTES_MAX",
        default_value = "268435456",
        value_name = "BYTES"
    )]
    pub retries_bytes_max: String,
    /// Maximum time messages are held while the database is unavailable, before they are
    /// republished unchanged; at most 25m, because the broker treats a consumer as dead after 30m
    #[arg(long, env = "TRAILPAD_HOLD_MAX", default_value = "10m", value_name = "TIME")]
    pub hold_max: String,
    /// Maximum wait between two probes of an unavailable database
    #[arg(long, env = "TRAILPAD_STORE_BACKOFF_MAX", default_value = "15s", value_name = "TIME")]
    pub store_backoff_max: String,
}
