//! Which engines a process runs on: those that its URLs name, or the files of a data directory.

use trailpad_engines::postgres;
use trailpad_engines::rabbitmq::RabbitQueue;
use trailpad_engines::sqlite::DataDir;

use super::faults::Faults;
use crate::cli::{DatabaseArgs, QueueArgs, StoreArgs};

const DATA_DIR: &str = "trailpad-data";
/// A single role has nobody to share files with.
const ROLE_NEEDS_SERVERS: &str = "is missing: a single role needs RabbitMQ and PostgreSQL; \
    `trailpad serve` runs every role in one process, on files under --data-dir";

/// A text that nothing prints.
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The engine of the store.
pub enum StoreEngine {
    Postgres(Box<postgres::Config>),
    Sqlite,
}

/// The engine of the queue.
pub enum QueueEngine {
    RabbitMq { url: Secret, queue: String },
    Sqlite { free_bytes_min: u64 },
}

/// The engines of a process.
pub struct Engines {
    pub store: StoreEngine,
    pub queue: QueueEngine,
    /// Where the files of embedded engines are.
    pub data_dir: DataDir,
}

impl Faults {
    /// The engines of a single role: servers.
    pub fn servers(&mut self, store: &StoreArgs, queue: &QueueArgs, role: &str) -> Option<Engines> {
        let store_engine = self.store(store, role);
        let queue_engine = self.rabbitmq(queue, role);
        if let Some(StoreEngine::Sqlite) = store_engine {
            self.add("database-url", ROLE_NEEDS_SERVERS);
        }
        if queue_engine.is_none() && !queue.is_given() {
            self.add("amqp-url", ROLE_NEEDS_SERVERS);
        }
        Some(Engines { store: store_engine?, queue: queue_engine?, data_dir: data_dir(store) })
    }

    /// The engines of `serve`: each a server if its URL is given.
    pub fn engines(
        &mut self,
        store: &StoreArgs,
        queue: &QueueArgs,
        free_bytes_min: &str,
    ) -> Option<Engines> {
        let free_bytes_min = self.count("free-bytes-min", free_bytes_min, 0, 1 << 50);
        let store_engine = self.store(store, "serve");
        let queue_engine = match queue.is_given() {
            true => self.rabbitmq(queue, "serve"),
            false => Some(QueueEngine::Sqlite { free_bytes_min }),
        };
        Some(Engines { store: store_engine?, queue: queue_engine?, data_dir: data_dir(store) })
    }

    /// The engines of a command that publishes: those of the process beside it.
    pub fn engines_beside(&mut self, store: &StoreArgs, queue: &QueueArgs) -> Option<Engines> {
        let engines = self.engines(store, queue, "0")?;
        let is_split = matches!(engines.store, StoreEngine::Postgres(_)) && !queue.is_given();
        if is_split && store.data_dir.is_none() {
            self.add("amqp-url", "is missing: replaying needs the queue too");
        }
        Some(engines)
    }

    /// The engine of the store; none: its URL is wrong.
    pub fn store(&mut self, args: &StoreArgs, role: &str) -> Option<StoreEngine> {
        let DatabaseArgs { database_url, database_url_file } = &args.database;
        if database_url.is_none() && database_url_file.is_none() {
            return Some(StoreEngine::Sqlite);
        }
        let url =
            self.secret("database-url", database_url.as_deref(), database_url_file.as_ref())?;
        let config = postgres::Config::parse(&url, role);
        let config =
            config.map_err(|error| self.add("database-url", format!("is {error}"))).ok()?;
        Some(StoreEngine::Postgres(Box::new(config)))
    }

    fn rabbitmq(&mut self, args: &QueueArgs, role: &str) -> Option<QueueEngine> {
        if args.queue.trim().is_empty() || args.queue.len() > 200 {
            self.add("queue", "must be a name of 1 to 200 characters");
        }
        let url = self.secret("amqp-url", args.amqp_url.as_deref(), args.amqp_url_file.as_ref())?;
        // Only its form is looked at here: nothing connects yet.
        if let Err(error) = RabbitQueue::new(&url, &args.queue, role, &[]) {
            self.add("amqp-url", format!("is {error}"));
        }
        Some(QueueEngine::RabbitMq { url: Secret(url), queue: args.queue.clone() })
    }
}

/// Where the files are.
pub fn data_dir(args: &StoreArgs) -> DataDir {
    DataDir::at(args.data_dir.clone().unwrap_or_else(|| DATA_DIR.into()))
}
