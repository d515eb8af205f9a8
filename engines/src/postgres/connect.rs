//! Connections to PostgreSQL: configuration, TLS, pools and statement timeouts.

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
/// Time without an acknowledgement (TCP) after which the connection counts as lost.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);
const POOL_WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Limits the cancellation of a statement, and the check that a pooled connection is idle.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connection settings. They hold a password, so `Debug` prints none of them.
#[derive(Clone)]
pub struct Config {
    postgres: tokio_postgres::Config,
}

/// The text is not a PostgreSQL URL. The error does not quote it, because it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PostgreSQL URL: write postgres://user:password@host:5432/database?sslmode=require")]
pub struct BadUrl;

impl Config {
    /// Parses a URL or a `key=value` connection string (libpq, 34.1.1). `role` is shown in
    /// `pg_stat_activity`.
    ///
    /// # Errors
    /// `url` is neither, or it names no host.
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

    /// A pool of at most `size` connections, opened on demand, for callers that may abandon a
    /// statement, as a dashboard page does at its deadline.
    ///
    /// A connection that is still busy when it is requested again is discarded, and its statement
    /// is cancelled. So at most `size` statements of this pool run on the server, and no caller
    /// waits for a statement that another caller abandoned.
    pub(super) fn pool(&self, size: usize) -> Pool {
        let is_idle = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move {
                match with_timeout(SHORT_TIMEOUT, client.cancel_token(), client.simple_query(""))
                    .await
                {
                    Ok(Ok(_)) => Ok(()),
                    _ => Err(HookError::message("busy or lost")),
                }
            })
        });
        build(self.pool_builder(size).pre_recycle(is_idle))
    }

    /// A pool without the check of [`Self::pool`], for a caller that returns only idle connections
    /// and can retry after a lost connection.
    pub(super) fn unchecked_pool(&self, size: usize) -> Pool {
        build(self.pool_builder(size))
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

    /// Opens a connection outside of the pools; returns its client and the task that drives it.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), Unavailable> {
        let connecting = timeout(CONNECT_TIMEOUT, self.postgres.connect(tls()));
        let Ok(connected) = connecting.await else {
            return Err(Unavailable("connecting to PostgreSQL timed out".into()));
        };
        let (client, connection) = connected.map_err(|error| unavailable(&error))?;
        let driver = tokio::spawn(async move {
            // The client reports the error to its caller.
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

fn build(pool: PoolBuilder) -> Pool {
    // Building fails only if a timeout is set without a runtime.
    pool.build().unwrap_or_else(|error| unreachable!("{error}"))
}

/// Awaits the result of a statement for at most `limit`, then cancels the statement on the server.
///
/// Without the cancellation the server process would continue, and wait for a lock as long as that
/// is held, even after its client disconnected.
pub(super) async fn with_timeout<T>(
    limit: Duration,
    cancel: CancelToken,
    statement: impl Future<Output = T>,
) -> Result<T, Unavailable> {
    let mut statement = pin!(statement);
    if let Ok(result) = timeout(limit, &mut statement).await {
        return Ok(result);
    }
    let cancelled = async {
        let _ = cancel.cancel_query(tls()).await;
        // A pooler may drop a cancel request whose connection closes, so keep the connection open
        // until the statement ends.
        statement.await;
    };
    let _ = timeout(SHORT_TIMEOUT, cancelled).await;
    Err(Unavailable("PostgreSQL did not answer in time".into()))
}

/// Takes a connection out of the pool.
pub(super) async fn get(pool: &Pool) -> Result<Object, Unavailable> {
    use deadpool_postgres::PoolError;
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => unavailable(&error),
        PoolError::Timeout(_) => {
            Unavailable("waiting for a connection to PostgreSQL timed out".into())
        }
        _ => Unavailable("connecting to PostgreSQL failed".into()),
    })
}

/// TLS that verifies the server against the system's certificates. Not used with
/// `sslmode=disable`, nor with `sslmode=prefer` (the default) if the server does not offer TLS.
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
