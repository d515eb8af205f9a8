//! Connections to PostgreSQL: configuration, TLS, pools and statement timeouts.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolBuilder,
    RecyclingMethod, Runtime,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use trailpad_common::failure::Unavailable;

use super::error::unavailable;
use super::hosts::Hosts;
use super::url::{self, BadUrl};

/// Time without an acknowledgement (TCP) after which the connection counts as lost.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);
/// The driver does not report whether the URL sets `keepalives_idle`, only its default.
const DEFAULT_KEEPALIVES_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const POOL_WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Limits the cancellation of a statement, and the check that a pooled connection is idle.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connection settings. They hold a password, so `Debug` prints none of them.
#[derive(Clone)]
pub struct Config {
    hosts: Arc<Hosts>,
}

impl Config {
    /// Parses a URL or a `key=value` connection string (libpq, 34.1.1). `role` is shown in
    /// `pg_stat_activity`.
    ///
    /// # Errors
    /// `url` is neither, or has a part that is not supported.
    pub fn parse(url: &str, role: &str) -> Result<Self, BadUrl> {
        let mut postgres = url::parse(url)?;
        postgres.application_name(format!("trailpad {role}"));
        if postgres.get_keepalives_idle() == DEFAULT_KEEPALIVES_IDLE {
            postgres.keepalives_idle(TCP_TIMEOUT);
        }
        if postgres.get_tcp_user_timeout().is_none() {
            postgres.tcp_user_timeout(TCP_TIMEOUT);
        }
        let hosts = Hosts::of(&postgres).ok_or(BadUrl::HostsDiffer)?;
        Ok(Self { hosts: Arc::new(hosts) })
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

    /// Has no limit of the time to connect: [`Hosts`] limits each host.
    fn pool_builder(&self, size: usize) -> PoolBuilder {
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let unused = tokio_postgres::Config::new();
        let manager = Manager::from_connect(unused, self.clone(), manager);
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT_TIMEOUT))
    }

    /// Opens a connection outside of the pools; returns its client and the task that drives it.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), Unavailable> {
        self.hosts.connect(&tls()).await.map_err(|error| unavailable(&error))
    }
}

type Connecting<'c> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'c>>;

impl Connect for Config {
    fn connect(&self, _: &tokio_postgres::Config) -> Connecting<'_> {
        Box::pin(async move { self.hosts.connect(&tls()).await })
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
