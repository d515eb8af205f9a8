//! Rules for every request: response headers, a time limit, and the origin of forms.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use actix_web::middleware::{DefaultHeaders, Next};
use actix_web::{Error, HttpRequest};

use crate::error::PageError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Security headers of every response. They forbid content from other hosts, inline content and
/// framing. No other site receives a path, and no cache stores a page, because a page may contain a
/// secret URL. With `no-referrer`, browsers would send forms with the origin `null`.
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

/// Time limit of a page. The slowest action is replaying dead letters.
const PAGE_TIMEOUT: Duration = Duration::from_secs(12);

/// Adds [`HEADERS`] to responses that do not set them.
pub fn headers() -> DefaultHeaders {
    HEADERS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// Responds within [`PAGE_TIMEOUT`] even if the store does not. Logs failures with the route
/// pattern, never with the path, because a path may contain a secret.
pub async fn limit_time(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let page = request.match_pattern().unwrap_or_default();
    let Ok(answer) = tokio::time::timeout(PAGE_TIMEOUT, next.call(request)).await else {
        let late = PageError::Unavailable("The page took too long".into());
        late.log(&page);
        return Err(late.into());
    };
    let answer = answer?;
    if let Some(error) = answer.response().error().and_then(|error| error.as_error::<PageError>()) {
        error.log(&page);
    }
    Ok(answer)
}

/// `true` if the form comes from a page of this dashboard, according to the browser's headers. Forms
/// sent before a session exists need this check, because they have no CSRF token.
pub fn is_same_origin(request: &HttpRequest) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = header(SEC_FETCH_SITE) {
        return matches!(site, "same-origin" | "none");
    }
    match (header(ORIGIN), header(HOST)) {
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
        }
        // Not a cross-site form of a browser: those have an `Origin`.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_form_from_another_site_is_recognised() {
        let of = |headers: &[(&'static str, &str)]| {
            let request = TestRequest::default().insert_header(("Host", "trailpad.example:8090"));
            let request =
                headers.iter().fold(request, |request, header| request.append_header(*header));
            is_same_origin(&request.to_http_request())
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
