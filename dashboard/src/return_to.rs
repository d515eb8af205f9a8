//! The page that somebody asked for before they signed in: they are brought back to it.

use actix_web::HttpRequest;
use actix_web::http::Method;

/// Where people begin.
const HOME: &str = "/activities";
const PATH_BYTES_MAX: usize = 2_048;

/// The path itself if it is one of ours, and where people begin if not. `//` and `/\` would name
/// another host, and browsers leave tabs and line breaks out.
pub fn local(path: &str) -> &str {
    let is_local = path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with("/\\")
        && path.len() <= PATH_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_local { path } else { HOME }
}

/// Where to sign in, with the page that was asked for; nothing but a page is asked for again.
pub fn sign_in_path(request: &HttpRequest) -> String {
    let asked_for = request.uri().path_and_query().map_or(HOME, |path| local(path.as_str()));
    if request.method() != Method::GET || asked_for == HOME {
        return "/sign-in".to_owned();
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("next", asked_for)
        .finish();
    format!("/sign-in?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_ours_is_followed() {
        for path in ["/", "/webhooks/1?sent=2", "/a//b", "/a?next=https://evil.example"] {
            assert_eq!(local(path), path);
        }
        for path in [
            "",
            "x",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            " /x",
            "/x y",
            "/é",
            &format!("/{}", "x".repeat(PATH_BYTES_MAX)),
        ] {
            assert_eq!(local(path), HOME, "{path:?}");
        }
    }
}
