//! Stylesheet, script and icon, compiled into the binary. Their paths contain a hash of the content,
//! so browsers may cache them for a year.

use std::sync::LazyLock;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use trailpad_common::secret::SecretHash;

const FILES: [(&str, &str, &str); 3] = [
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("assets/app.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// The first 6 bytes of the SHA-256 of all files, in hex. The files are not secret: [`SecretHash`] is
/// used because it is the SHA-256 that this crate already has.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|(_, _, content)| *content).collect();
    SecretHash::of(&all).as_bytes()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
});

pub fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// `GET /assets/{version}/{name}`. Returns 404 for any other version: during a rolling update, a page
/// of one version may reach a process of the other, and nobody should cache that file for a year.
pub async fn asset(path: web::Path<(String, String)>) -> HttpResponse {
    let (version, wanted) = path.into_inner();
    match FILES.iter().find(|(name, ..)| *name == wanted && version == *VERSION) {
        Some((_, media_type, content)) => HttpResponse::Ok()
            .content_type(*media_type)
            .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .body(*content),
        None => HttpResponse::NotFound().insert_header((CACHE_CONTROL, "no-store")).finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_cached_and_that_of_another_version_is_not_found() {
        let answer = async |version: &str, name: &str| {
            let answer = asset((version.to_owned(), name.to_owned()).into()).await;
            let cached =
                answer.headers().get(CACHE_CONTROL).expect("the response should have the header");
            (
                answer.status().as_u16(),
                cached.to_str().expect("the header should be text").to_owned(),
            )
        };
        let (status, cached) = answer(&VERSION, "app.js").await;
        assert!(status == 200 && cached.contains("immutable"), "{status} {cached}");
        let nothing = (404, "no-store".to_owned());
        assert_eq!(answer("000000000000", "app.js").await, nothing);
        assert_eq!(answer(&VERSION, "other.js").await, nothing);
    }
}
