//! Decompresses bodies up to a size limit, so that a decompression bomb is detected without being
//! unpacked.

use std::io::Read;

use brotli_decompressor::Decompressor as Brotli;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Supported content codings, for `Accept-Encoding` in a 415 response (RFC 7694).
pub const ACCEPTED_ENCODINGS: &str = "gzip, deflate, br, zstd";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecompressError {
    /// The body is larger than the limit after decompression.
    TooLarge,
    /// The body is not valid for its coding.
    Corrupt,
}

/// The largest window of a zstd frame: 8 MiB, the size that RFC 8878 (3.1.1.1.2) recommends to
/// support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const BROTLI_BUFFER_BYTES: usize = 4_096;

impl Encoding {
    /// Returns the coding that a `Content-Encoding` names; `None` if it is unknown or lists several.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Decompresses a body to at most `bytes_max` bytes.
pub fn decompress(
    encoding: Encoding,
    body: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    match encoding {
        Encoding::Identity => Ok(body.to_vec()),
        Encoding::Gzip => read(MultiGzDecoder::new(body), bytes_max),
        // HTTP's deflate has a zlib wrapper (RFC 9110, 8.4.1.2); some senders omit it.
        Encoding::Deflate if has_zlib_header(body) => read(ZlibDecoder::new(body), bytes_max),
        Encoding::Deflate => read(DeflateDecoder::new(body), bytes_max),
        Encoding::Brotli => read(Brotli::new(body, BROTLI_BUFFER_BYTES), bytes_max),
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::new(body).map_err(|_| DecompressError::Corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| DecompressError::Corrupt)?;
            read(decoder, bytes_max)
        }
    }
}

fn read(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let one_too_many = bytes_max as u64 + 1;
    decoder.take(one_too_many).read_to_end(&mut out).map_err(|_| DecompressError::Corrupt)?;
    if out.len() > bytes_max { Err(DecompressError::TooLarge) } else { Ok(out) }
}

fn has_zlib_header(body: &[u8]) -> bool {
    let header = body.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes));
    // RFC 1950 (2.2): the method is 8 and the header is a multiple of 31.
    header.is_some_and(|header| header & 0x0f00 == 0x0800 && header % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).expect("compressing in memory should succeed");
        encoder.finish().expect("compressing in memory should succeed")
    }

    #[test]
    fn each_coding_restores_the_compressed_body() {
        let body = b"{\"title\":\"T\"}".repeat(100);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&body).expect("compressing in memory should succeed");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(&body).expect("compressing in memory should succeed");
        let zstd =
            zstd::stream::encode_all(&*body, 3).expect("compressing in memory should succeed");
        for (encoding, compressed) in [
            (Encoding::Identity, body.clone()),
            (Encoding::Gzip, gzip(&body)),
            (Encoding::Deflate, zlib.finish().expect("compressing in memory should succeed")),
            (Encoding::Deflate, raw.finish().expect("compressing in memory should succeed")),
            (Encoding::Zstd, zstd),
        ] {
            assert_eq!(
                decompress(encoding, &compressed, 2_000).as_ref(),
                Ok(&body),
                "{encoding:?}"
            );
        }
        // `{}` in brotli: one uncompressed meta-block.
        assert_eq!(decompress(Encoding::Brotli, b"\x8b\x00\x80{}\x03", 10), Ok(b"{}".to_vec()));
    }

    #[test]
    fn a_decompression_bomb_is_rejected_at_the_limit() {
        let bomb = gzip(&vec![b' '; 64 * 1_024 * 1_024]);
        assert_eq!(decompress(Encoding::Gzip, &bomb, 1_000), Err(DecompressError::TooLarge));
        let bomb = zstd::stream::encode_all(&*vec![b' '; 64 * 1_024 * 1_024], 19)
            .expect("compressing in memory should succeed");
        let result = decompress(Encoding::Zstd, &bomb, 1_000);
        assert!(result.is_err(), "the output or the window should be too large");
    }

    #[test]
    fn a_body_that_does_not_match_its_coding_is_corrupt() {
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
            assert_eq!(
                decompress(encoding, b"\xff{not compressed}", 1_000),
                Err(DecompressError::Corrupt),
                "{encoding:?}"
            );
        }
        let truncated = gzip(b"{}");
        assert_eq!(
            decompress(Encoding::Gzip, &truncated[..truncated.len() - 4], 10),
            Err(DecompressError::Corrupt)
        );
    }
}
