//! The store and the queue that a process runs on.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// The PostgreSQL URL: postgres://user:password@host:5432/database?sslmode=require, with special
    /// characters percent-encoded
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
    /// The directory of the embedded files, if no database URL is given [default: ./trailpad-data]
    #[arg(long, env = "TRAILPAD_DATA_DIR", value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Queue")]
pub struct QueueArgs {
    /// The RabbitMQ URL: amqp://user:password@host:5672/vhost, or amqps:// for TLS
    #[arg(long, env = "TRAILPAD_AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub amqp_url: Option<String>,
    /// A file that holds the AMQP URL, in place of the URL itself
    #[arg(long, env = "TRAILPAD_AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// The queue's name; the queues for retries and dead letters are named after it
    #[arg(
        long,
        env = "TRAILPAD_QUEUE",
        default_value = "trailpad.activities",
        value_name = "NAME"
    )]
    pub queue: String,
}

impl QueueArgs {
    /// `true` if the URL of a broker is given.
    pub fn is_given(&self) -> bool {
        self.amqp_url.is_some() || self.amqp_url_file.is_some()
    }
}
