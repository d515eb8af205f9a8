//! Reads a request body, limited in time and in bytes, before and after decompression.

use std::time::Duration;

use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::admission::Permit;
use crate::decompress::{DecompressError, Encoding, decompress};
use crate::headers::RequestHeaders;
use crate::rejection::{NotAccepted, Rejection};

#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes_max: usize,
    pub timeout: Duration,
}

/// Reads and decompresses a body. Reserves its bytes in `permit` as they arrive.
pub async fn read(
    payload: &mut Payload,
    headers: &RequestHeaders<'_>,
    limits: BodyLimits,
    permit: &mut Permit,
) -> Result<Bytes, Rejection> {
    if headers.content_length.is_some_and(|bytes| bytes > limits.bytes_max) {
        return Err(Rejection::TooLarge(limits.bytes_max));
    }
    let body = tokio::time::timeout(limits.timeout, collect(payload, limits.bytes_max, permit))
        .await
        .map_err(|_| Rejection::TooSlow)??;
    if headers.encoding == Encoding::Identity {
        return Ok(body);
    }
    let body =
        decompress(headers.encoding, &body, limits.bytes_max).map_err(|error| match error {
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
    // Nearly every body is a single chunk, which is returned without a copy.
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
        // The client disconnected or sent invalid chunks; the response will rarely be read.
        Some(Err(_)) => Err(Rejection::Corrupt),
    }
}

fn check(bytes: usize, bytes_max: usize) -> Result<(), Rejection> {
    if bytes > bytes_max { Err(Rejection::TooLarge(bytes_max)) } else { Ok(()) }
}

fn reserve(permit: &mut Permit, bytes: usize) -> Result<(), Rejection> {
    if permit.reserve_bytes(bytes) { Ok(()) } else { Err(NotAccepted::Overloaded.into()) }
}
