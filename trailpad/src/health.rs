//! `trailpad health`: what a container's health check runs, in an image without a shell or curl.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::HealthArgs;
use crate::error::Error;

const TIMEOUT: Duration = Duration::from_secs(2);
/// More than the reasons of every part.
const ANSWER_BYTES_MAX: u64 = 64 * 1_024;

/// Succeeds where a role says that it is ready; otherwise fails with its reasons.
pub async fn health(args: &HealthArgs) -> Result<(), Error> {
    let address = &args.ops_listen;
    let answer = match timeout(TIMEOUT, ask(address)).await {
        Ok(answer) => answer.map_err(|error| Error::Other(format!("{address}: {error}")))?,
        Err(_) => return Err(Error::Other(format!("{address}: no answer in {TIMEOUT:?}"))),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => {
            println!("ready");
            Ok(())
        }
        _ => Err(Error::Other(format!("not ready: {body}"))),
    }
}

/// In HTTP/1.0 the answer ends with the connection, so nothing has to be parsed to find its end.
async fn ask(address: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    connection.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}
