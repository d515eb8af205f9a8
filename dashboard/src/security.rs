//! What holds for every answer: its headers, its time, and where a form may come from.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use actix_web::middleware::{DefaultHeaders, Next};
use actix_web::{Error, HttpRequest};

use crate::error::PageError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing from elsewhere, nothing inline, nobody's frame; no path is told to another site, and no
/// page is kept by a cache, because one may hold a secret URL. With `no-referrer` browsers would
/// send forms with the origin `null`.
pub const HEADERS: [(&str, &str); 8] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cache-Control", "no-store"),
];

/// How long a page may take; the longest thing that one does is to replay dead letters.
const PAGE_TIMEOUT: Duration = Duration::from_secs(12);

/// Adds the headers to what has none of its own.
pub fn headers() -> DefaultHeaders {
    HEADERS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// Answers in time, though a store that is silent does not; and tells the operator what failed, by
/// the route alone, because a path may hold a secret.
pub async fn in_time(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let page = request.match_pattern().unwrap_or_default();
    let Ok(answer) = tokio::time::timeout(PAGE_TIMEOUT, next.call(request)).await else {
        let late = PageError::Away("The page took too long".into());
        late.log(&page);
        return Err(late.into());
    };
    let answer = answer?;
    if let Some(error) = answer.response().error().and_then(|error| error.as_error::<PageError>()) {
        error.log(&page);
    }
    Ok(answer)
}

/// Whether a form comes from a page of ours, as far as the browser says. Needed where there is no
/// session yet, and so no token of one.
pub fn is_from_here(request: &HttpRequest) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = header(SEC_FETCH_SITE) {
        return matches!(site, "same-origin" | "none");
    }
    match (header(ORIGIN), header(HOST)) {
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
        }
        // Not a browser's cross-site form: those name their origin.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_form_of_another_site_is_known() {
        let of = |headers: &[(&'static str, &str)]| {
            let request = TestRequest::default().insert_header(("Host", "trailpad.example:8090"));
            let request =
                headers.iter().fold(request, |request, header| request.append_header(*header));
            is_from_here(&request.to_http_request())
        };
        assert!(of(&[]));
        assert!(of(&[("Sec-Fetch-Site", "same-origin")]));
        assert!(!of(&[("Sec-Fetch-Site", "cross-site")]));
        assert!(!of(&[("Sec-Fetch-Site", "same-site")]));
        assert!(of(&[("Origin", "http://trailpad.example:8090")]));
        assert!(!of(&[("Origin", "http://evil.example")]));
        assert!(!of(&[("Origin", "null")]));
    }
}
