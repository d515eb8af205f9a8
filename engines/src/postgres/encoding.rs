//! The encoding of a database.

use std::time::Duration;

use tokio_postgres::Client;
use trailpad_common::check::CheckError;

use super::connect::with_timeout;
use super::error::unavailable;

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

const ENCODING: &str = "SELECT current_setting('server_encoding') AS encoding";

/// In another encoding jsonb refuses `\u` escapes, and text refuses characters.
pub(super) async fn check_encoding(client: &Client) -> Result<(), CheckError> {
    let row = client.query_typed_one(ENCODING, &[]);
    let row = with_timeout(STATEMENT_TIMEOUT, client.cancel_token(), row).await?;
    let found: String = row.map_err(|error| unavailable(&error))?.get("encoding");
    if found == "UTF8" { Ok(()) } else { Err(CheckError::WrongEncoding { found }) }
}
