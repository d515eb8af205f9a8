//! The headers of every answer, and where a form may come from.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use actix_web::middleware::DefaultHeaders;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing from elsewhere, nothing inline, nobody's frame; and no page is kept by a cache, because
/// one may hold a secret URL.
pub fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("X-Frame-Options", "DENY"))
        .add(("Referrer-Policy", "no-referrer"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
        .add(("Permissions-Policy", "camera=(), geolocation=(), microphone=()"))
        .add(("Cache-Control", "no-store"))
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
