//! The page requested before signing in. Signing in redirects back to it.

use actix_web::HttpRequest;
use actix_web::http::Method;

/// The page after signing in if no other was requested.
const HOME: &str = "/activities";
const PATH_BYTES_MAX: usize = 2_048;

/// Returns the path if it is local to the dashboard, [`HOME`] otherwise. `//` and `/\` would name
/// another host. Tabs and line breaks are not allowed, because browsers strip them.
pub fn local(path: &str) -> &str {
    let is_local = path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with("/\\")
        && path.len() <= PATH_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_local { path } else { HOME }
}

/// The path of the sign-in page, with the requested page in `next`. Only a `GET` is repeated after
/// signing in.
pub fn sign_in_path(request: &HttpRequest) -> String {
    let requested = request.uri().path_and_query().map_or(HOME, |path| local(path.as_str()));
    if request.method() != Method::GET || requested == HOME {
        return "/sign-in".to_owned();
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("next", requested)
        .finish();
    format!("/sign-in?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_local_path_is_followed() {
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
