//! Leases of the store's connections.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Row};
use trailpad_common::failure::Unavailable;

use super::connect::{Config, get, with_timeout};
use super::error::unavailable;

/// A statement that takes longer is cancelled.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

pub(super) struct Leases(Pool);

impl Leases {
    /// Opens at most `connections` connections, on demand.
    pub fn new(config: &Config, connections: usize) -> Self {
        Self(config.unchecked_pool(connections))
    }

    pub async fn lease(&self) -> Result<Lease, Unavailable> {
        Ok(Lease(Some(get(&self.0).await?)))
    }

    /// Runs one statement that is its own transaction.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Unavailable> {
        let mut lease = self.lease().await?;
        let (client, cancel) = lease.client()?;
        let result = client.query_typed(statement, parameters);
        let result = with_timeout(STATEMENT_TIMEOUT, cancel, result).await?;
        let rows = result.map_err(|error| unavailable(&error))?;
        lease.release();
        Ok(rows)
    }
}

/// A pooled connection that returns to the pool only if it is released. Otherwise it failed or is
/// still busy with a statement, and is discarded.
pub(super) struct Lease(Option<Object>);

impl Lease {
    /// Returns the connection, and a token that cancels its statement.
    pub fn client(&mut self) -> Result<(&mut Object, CancelToken), Unavailable> {
        let released = || Unavailable("the connection was released".into());
        let client = self.0.as_mut().ok_or_else(released)?;
        let cancel = client.cancel_token();
        Ok((client, cancel))
    }

    pub fn release(mut self) {
        self.0.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.take().map(Object::take);
    }
}
