//! The servers of a test run: one set, started on first use, unless `TRAILPAD_TEST_AMQP_URL` and
//! `TRAILPAD_TEST_POSTGRES_URL` name running servers.

use tokio::sync::OnceCell;

use crate::postgres::Postgres;
use crate::rabbitmq::RabbitMq;

/// Environment variable: URL of a running broker.
pub const AMQP_URL: &str = "TRAILPAD_TEST_AMQP_URL";
/// Environment variable: URL of a running PostgreSQL.
pub const POSTGRES_URL: &str = "TRAILPAD_TEST_POSTGRES_URL";

/// URLs of the servers. Dropping it ends the servers that it started.
pub struct Servers {
    pub amqp_url: String,
    /// PostgreSQL, as a user who may create databases.
    pub postgres_url: String,
    _rabbitmq: Option<RabbitMq>,
    _postgres: Option<Postgres>,
}

impl Servers {
    /// Uses the named servers and starts the others.
    pub async fn start() -> Self {
        let rabbitmq = async {
            match std::env::var(AMQP_URL) {
                Ok(_) => None,
                Err(_) => Some(RabbitMq::start("").await),
            }
        };
        let postgres = async {
            match std::env::var(POSTGRES_URL) {
                Ok(_) => None,
                Err(_) => Some(Postgres::start().await),
            }
        };
        let (rabbitmq, postgres) = tokio::join!(rabbitmq, postgres);
        let named = |name| std::env::var(name).unwrap_or_default();
        Self {
            amqp_url: rabbitmq.as_ref().map_or_else(|| named(AMQP_URL), RabbitMq::url),
            postgres_url: postgres.as_ref().map_or_else(|| named(POSTGRES_URL), Postgres::url),
            _rabbitmq: rabbitmq,
            _postgres: postgres,
        }
    }
}

/// The servers that all tests of this process share. Process guards end them with the process.
pub async fn shared() -> &'static Servers {
    static SHARED: OnceCell<Servers> = OnceCell::const_new();
    SHARED.get_or_init(Servers::start).await
}
