//! Reads and checks the request headers that the ingress uses.

use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
};
use trailpad_common::activity::Handling;
use trailpad_common::runtime::trace::TraceContext;

use crate::decompress::Encoding;
use crate::rejection::Rejection;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

#[derive(Debug, PartialEq)]
pub struct RequestHeaders<'a> {
    pub content_length: Option<usize>,
    pub encoding: Encoding,
    pub handling: Handling,
    pub idempotency_key: Option<&'a [u8]>,
    pub traceparent: Option<TraceContext>,
}

impl<'a> RequestHeaders<'a> {
    pub fn read(headers: &'a HeaderMap) -> Result<Self, Rejection> {
        let text = |name: &HeaderName| headers.get(name).map_or(Ok(""), |value| value.to_str());
        if !is_json(text(&CONTENT_TYPE).unwrap_or_default()) {
            return Err(Rejection::MediaType);
        }
        let encoding =
            text(&CONTENT_ENCODING).ok().and_then(Encoding::named).ok_or(Rejection::Encoding)?;
        let is_strict =
            headers.get_all(&PREFER).any(|value| value.to_str().is_ok_and(prefers_strict));
        Ok(Self {
            content_length: text(&CONTENT_LENGTH).ok().and_then(|bytes| bytes.parse().ok()),
            encoding,
            handling: if is_strict { Handling::Strict } else { Handling::Lenient },
            idempotency_key: idempotency_key(headers)?,
            traceparent: text(&TRACEPARENT).ok().and_then(TraceContext::parse),
        })
    }
}

/// Returns `true` for `application/json` and `*/*+json`, unless the charset is not UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || media_type.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    is_json && is_utf8
}

/// Returns `true` if a `Prefer` header (RFC 7240) asks for strict handling.
fn prefers_strict(value: &str) -> bool {
    value.split(',').any(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        preference.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("handling")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("strict")
        })
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Rejection> {
    let mut keys = headers.get_all(&IDEMPOTENCY_KEY);
    let Some(key) = keys.next().map(|key| key.as_bytes()) else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Rejection::Header("send exactly one Idempotency-Key"));
    }
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(Rejection::Header(
            "an Idempotency-Key must have 1 to 255 characters: send a short unique text such as a UUID",
        ));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("the text should be a valid header value"),
            );
        }
        map
    }

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/cloudevents+json",
            "application/ld+json; profile=x",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/json; charset=utf-16",
            "json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[test]
    fn strict_handling_is_found_among_other_preferences() {
        for value in
            ["handling=strict", "respond-async, Handling=\"strict\"; x=1", "handling=strict,wait=3"]
        {
            let map = headers(&[("content-type", "application/json"), ("prefer", value)]);
            assert_eq!(
                RequestHeaders::read(&map).expect("the headers should be valid").handling,
                Handling::Strict,
                "{value}"
            );
        }
        let map = headers(&[("content-type", "application/json"), ("prefer", "handling=lenient")]);
        assert_eq!(
            RequestHeaders::read(&map).expect("the headers should be valid").handling,
            Handling::Lenient
        );
    }

    #[test]
    fn an_idempotency_key_is_a_single_short_text() {
        let key = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(
                    IDEMPOTENCY_KEY,
                    HeaderValue::from_str(value).expect("the text should be a valid header value"),
                );
            }
            idempotency_key(&map).map(|key| key.map(<[u8]>::to_vec))
        };
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["order-1"]), Ok(Some(b"order-1".to_vec())));
        assert!(key(&[""]).is_err());
        assert!(key(&[&"k".repeat(256)]).is_err());
        assert!(key(&["a", "b"]).is_err());
    }
}
