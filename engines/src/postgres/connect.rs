//! Connections to PostgreSQL: configuration, TLS, the pool.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolBuilder,
    RecyclingMethod, Runtime,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client};
use tokio_postgres_rustls::MakeRustlsConnect;
use trailpad_common::failure::Unavailable;

use super::error::unavailable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that acknowledges nothing for so long is taken for gone.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);
const POOL_WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// For giving up what was asked, and for an idle connection to show that it is one.
const SOON: Duration = Duration::from_secs(1);

/// Where a database is, and who asks. A secret: shown by nothing.
#[derive(Clone)]
pub struct Config {
    postgres: tokio_postgres::Config,
}

/// The text is no PostgreSQL URL. Does not quote it, because it holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PostgreSQL URL: write postgres://user:password@host:5432/database?sslmode=require")]
pub struct BadUrl;

impl Config {
    /// Reads a URL or a `key=value` text (libpq, 34.1.1). `role` is shown in `pg_stat_activity`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(url: &str, role: &str) -> Result<Self, BadUrl> {
        let mut postgres: tokio_postgres::Config = url.parse().map_err(|_| BadUrl)?;
        if postgres.get_hosts().is_empty() {
            return Err(BadUrl);
        }
        postgres.application_name(format!("trailpad {role}"));
        postgres.connect_timeout(CONNECT_TIMEOUT);
        postgres.keepalives_idle(TCP_TIMEOUT);
        postgres.tcp_user_timeout(TCP_TIMEOUT);
        Ok(Self { postgres })
    }

    /// A pool of at most `size` connections, made when they are needed. Its users may give up a
    /// statement, as a page does past its deadline: a connection that is still busy when it is
    /// wanted again is not used, and what it is at is cancelled. So the server never has more than
    /// `size` at work for this pool, and nobody waits for what somebody else gave up.
    pub(super) fn pool(&self, size: usize) -> Pool {
        let idle = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move {
                match in_time(SOON, client.cancel_token(), client.simple_query("")).await {
                    Ok(Ok(_)) => Ok(()),
                    _ => Err(HookError::message("busy or lost")),
                }
            })
        });
        built(self.pool_builder(size).pre_recycle(idle))
    }

    /// A pool without that check, for a user that gives back idle connections only and can try
    /// again where one was lost.
    pub(super) fn unchecked_pool(&self, size: usize) -> Pool {
        built(self.pool_builder(size))
    }

    fn pool_builder(&self, size: usize) -> PoolBuilder {
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.postgres.clone(), tls(), manager);
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
    }

    /// A connection of its own, and the task that drives it.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), Unavailable> {
        let connecting = timeout(CONNECT_TIMEOUT, self.postgres.connect(tls()));
        let Ok(connected) = connecting.await else {
            return Err(Unavailable("PostgreSQL does not answer".into()));
        };
        let (client, connection) = connected.map_err(|error| unavailable(&error))?;
        let driver = tokio::spawn(async move {
            // Its end shows at the client.
            let _ = connection.await;
        });
        Ok((client, driver))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config(…)")
    }
}

fn built(pool: PoolBuilder) -> Pool {
    // Fails only where a timeout is set and no runtime is.
    pool.build().unwrap_or_else(|error| unreachable!("{error}"))
}

/// Awaits an answer for at most `limit`. Past it the server is asked to give up what it was asked:
/// its process would go on, and wait for a lock as long as that is held, though its client was
/// gone.
pub(super) async fn in_time<T>(
    limit: Duration,
    cancel: CancelToken,
    answer: impl Future<Output = T>,
) -> Result<T, Unavailable> {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(limit, &mut answer).await {
        return Ok(answer);
    }
    let cancelled = async {
        let _ = cancel.cancel_query(tls()).await;
        // A pooler may forget the request with the connection, so the end is awaited on it.
        answer.await;
    };
    let _ = timeout(SOON, cancelled).await;
    Err(Unavailable("PostgreSQL did not answer in time".into()))
}

/// A connection of the pool.
pub(super) async fn get(pool: &Pool) -> Result<Object, Unavailable> {
    use deadpool_postgres::PoolError;
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => unavailable(&error),
        PoolError::Timeout(_) => Unavailable("no connection to PostgreSQL in time".into()),
        _ => Unavailable("no connection to PostgreSQL".into()),
    })
}

/// Verifies the server against the system's certificates, unless the URL says `sslmode=disable`.
/// With `prefer`, which is the default, a server without TLS is spoken to without.
fn tls() -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|error| unreachable!("ring has the default protocol versions: {error}"))
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}
