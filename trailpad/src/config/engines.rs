//! Reads the engines of a process: servers if their URLs are given, else files of a data directory.

use trailpad_engines::postgres::PostgresBackend;
use trailpad_engines::rabbitmq::RabbitBackend;
use trailpad_engines::sqlite::DataDir;

use super::faults::Faults;
use crate::args::{DatabaseArgs, QueueArgs, StoreArgs};

const DATA_DIR: &str = "trailpad-data";
/// A single role has no other process to share files with.
const ROLE_NEEDS_SERVERS: &str = "is missing: a single role needs RabbitMQ and PostgreSQL; \
    `trailpad serve` runs every role in one process, on files under --data-dir";

pub enum StoreConfig {
    Postgres(Box<PostgresBackend>),
    Files,
}

pub enum QueueConfig {
    RabbitMq(Box<RabbitBackend>),
    Files,
}

pub struct EngineConfig {
    pub store: StoreConfig,
    pub queue: QueueConfig,
    /// For the engines on files.
    pub data_dir: DataDir,
    pub free_bytes_min: u64,
}

impl Faults {
    /// The engines of a single role: always servers.
    pub fn servers(
        &mut self,
        store: &StoreArgs,
        queue: &QueueArgs,
        role: &str,
    ) -> Option<EngineConfig> {
        let store_config = self.store(store, role);
        let queue_config = self.rabbitmq(queue);
        if let Some(StoreConfig::Files) = store_config {
            self.add("database-url", ROLE_NEEDS_SERVERS);
        }
        if queue_config.is_none() && !queue.is_given() {
            self.add("amqp-url", ROLE_NEEDS_SERVERS);
        }
        Some(EngineConfig {
            store: store_config?,
            queue: queue_config?,
            data_dir: data_dir(store),
            free_bytes_min: 0,
        })
    }

    /// The engines of `serve`.
    pub fn engines(
        &mut self,
        store: &StoreArgs,
        queue: &QueueArgs,
        free_bytes_min: &str,
    ) -> Option<EngineConfig> {
        let free_bytes_min = self.count("free-bytes-min", free_bytes_min, 0, 1 << 50);
        let store_config = self.store(store, "serve");
        let queue_config =
            if queue.is_given() { self.rabbitmq(queue) } else { Some(QueueConfig::Files) };
        Some(EngineConfig {
            store: store_config?,
            queue: queue_config?,
            data_dir: data_dir(store),
            free_bytes_min,
        })
    }

    /// The engines of a command that publishes while other processes serve them.
    pub fn engines_of_command(
        &mut self,
        store: &StoreArgs,
        queue: &QueueArgs,
    ) -> Option<EngineConfig> {
        let engines = self.engines(store, queue, "0")?;
        let is_split = matches!(engines.store, StoreConfig::Postgres(_)) && !queue.is_given();
        if is_split && store.data_dir.is_none() {
            self.add("amqp-url", "is missing: replaying needs the queue too");
        }
        Some(engines)
    }

    /// The store of a command, and the queue in the same files: nobody uses it.
    pub fn store_of_command(&mut self, store: &StoreArgs) -> Option<EngineConfig> {
        Some(EngineConfig {
            store: self.store(store, "command")?,
            queue: QueueConfig::Files,
            data_dir: data_dir(store),
            free_bytes_min: 0,
        })
    }

    /// `None` if the URL is invalid.
    fn store(&mut self, args: &StoreArgs, role: &str) -> Option<StoreConfig> {
        let DatabaseArgs { database_url, database_url_file } = &args.database;
        if database_url.is_none() && database_url_file.is_none() {
            return Some(StoreConfig::Files);
        }
        let url =
            self.secret("database-url", database_url.as_deref(), database_url_file.as_ref())?;
        match PostgresBackend::new(&url, role) {
            Ok(postgres) => Some(StoreConfig::Postgres(Box::new(postgres))),
            Err(error) => {
                self.add("database-url", format!("is {error}"));
                None
            }
        }
    }

    fn rabbitmq(&mut self, args: &QueueArgs) -> Option<QueueConfig> {
        if args.queue.trim().is_empty() || args.queue.len() > 200 {
            self.add("queue", "must be a name of 1 to 200 characters");
        }
        let url = self.secret("amqp-url", args.amqp_url.as_deref(), args.amqp_url_file.as_ref())?;
        match RabbitBackend::new(&url, &args.queue) {
            Ok(rabbitmq) => Some(QueueConfig::RabbitMq(Box::new(rabbitmq))),
            Err(error) => {
                self.add("amqp-url", format!("is {error}"));
                None
            }
        }
    }
}

fn data_dir(args: &StoreArgs) -> DataDir {
    DataDir::at(args.data_dir.clone().unwrap_or_else(|| DATA_DIR.into()))
}
