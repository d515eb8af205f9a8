//! `trailpad health`: a container's health check, for images without a shell or curl.

use std::io;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Error;

const TIMEOUT: Duration = Duration::from_secs(2);
/// More than the reasons of every part.
const RESPONSE_BYTES_MAX: u64 = 64 * 1_024;

#[derive(Args)]
pub struct HealthArgs {
    /// The address of the role's /readyz
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9081",
        value_name = "ADDRESS"
    )]
    ops_listen: String,
}

/// # Errors
/// The role is not ready (with its reasons) or does not respond.
pub async fn run(args: &HealthArgs) -> Result<(), Error> {
    let address = &args.ops_listen;
    let response = timeout(TIMEOUT, get_readyz(address)).await;
    let response = response
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| Error::NoResponse { address: address.clone(), source })?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    match head.split(' ').nth(1) {
        Some("200") => {
            println!("ready");
            Ok(())
        }
        _ => Err(Error::NotReady(body.to_owned())),
    }
}

/// With HTTP/1.0 the server closes the connection after the response, so no header has to be parsed
/// to find the end of the body.
async fn get_readyz(address: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut response = String::new();
    connection.take(RESPONSE_BYTES_MAX).read_to_string(&mut response).await?;
    Ok(response)
}
