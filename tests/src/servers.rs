//! The servers of a test run: one set, started when it is first needed, or those that
//! `TRAILPAD_TEST_AMQP_URL` and `TRAILPAD_TEST_POSTGRES_URL` name.

use tokio::sync::OnceCell;

use crate::postgres::Postgres;
use crate::rabbitmq::RabbitMq;

/// Names a running broker.
pub const AMQP_URL: &str = "TRAILPAD_TEST_AMQP_URL";
/// Names a running PostgreSQL.
pub const POSTGRES_URL: &str = "TRAILPAD_TEST_POSTGRES_URL";

/// Where the servers are. Holds those that it started itself.
pub struct Servers {
    /// The broker.
    pub amqp_url: String,
    /// PostgreSQL, as somebody who may create databases.
    pub postgres_url: String,
    _rabbitmq: Option<RabbitMq>,
    _postgres: Option<Postgres>,
}

impl Servers {
    /// Uses what is named, and starts the rest.
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

/// The servers that the tests of this process share. Their keepers end them with the process.
pub async fn shared() -> &'static Servers {
    static SHARED: OnceCell<Servers> = OnceCell::const_new();
    SHARED.get_or_init(Servers::start).await
}
