//! Reading a body: bounded in bytes, in time, and once decompressed.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::admission::Permit;
use crate::decompress::{DecompressError, Encoding, decompress};
use crate::rejection::{NotAccepted, Rejection};

/// The bounds of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes_max: usize,
    pub timeout: Duration,
}

/// Reads a body and decompresses it. Its bytes are counted in `permit` as they come.
pub async fn read(
    headers: &HeaderMap,
    payload: &mut Payload,
    encoding: Encoding,
    limits: BodyLimits,
    permit: &mut Permit,
) -> Result<Bytes, Rejection> {
    if announced_bytes(headers).is_some_and(|bytes| bytes > limits.bytes_max) {
        return Err(Rejection::TooLarge(limits.bytes_max));
    }
    let body = tokio::time::timeout(limits.timeout, collect(payload, limits.bytes_max, permit))
        .await
        .map_err(|_| Rejection::TooSlow)??;
    if encoding == Encoding::Identity {
        return Ok(body);
    }
    let body = decompress(encoding, &body, limits.bytes_max).map_err(|error| match error {
        DecompressError::TooLarge => Rejection::TooLarge(limits.bytes_max),
        DecompressError::Corrupt => Rejection::Corrupt,
    })?;
    reserve(permit, body.len())?;
    Ok(body.into())
}

async fn collect(
    payload: &mut Payload,
    bytes_max: usize,
    permit: &mut Permit,
) -> Result<Bytes, Rejection> {
    let Some(first) = next_chunk(payload).await? else { return Ok(Bytes::new()) };
    check(first.len(), bytes_max)?;
    reserve(permit, first.len())?;
    // Nearly every body is one chunk, which is then the body: no copy.
    let Some(second) = next_chunk(payload).await? else { return Ok(first) };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        check(body.len() + chunk.len(), bytes_max)?;
        reserve(permit, chunk.len())?;
        body.extend_from_slice(&chunk);
        next = next_chunk(payload).await?;
    }
    Ok(body.freeze())
}

async fn next_chunk(payload: &mut Payload) -> Result<Option<Bytes>, Rejection> {
    match payload.next().await {
        None => Ok(None),
        Some(Ok(chunk)) => Ok(Some(chunk)),
        // The sender went away, or sent broken chunks: hardly anybody is left to read the answer.
        Some(Err(_)) => Err(Rejection::Corrupt),
    }
}

fn check(bytes: usize, bytes_max: usize) -> Result<(), Rejection> {
    if bytes > bytes_max { Err(Rejection::TooLarge(bytes_max)) } else { Ok(()) }
}

fn reserve(permit: &mut Permit, bytes: usize) -> Result<(), Rejection> {
    if permit.reserve(bytes) { Ok(()) } else { Err(NotAccepted::Overloaded.into()) }
}

fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
