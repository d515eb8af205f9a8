//! Style, script and icon, compiled in. Their paths hold a hash, so a browser may keep them.

use std::sync::LazyLock;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use trailpad_common::token::SecretHash;

const FILES: [(&str, &str, &str); 3] = [
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("assets/app.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|(_, _, content)| *content).collect();
    SecretHash::of(&all).as_bytes()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// The path of a file.
pub fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// `GET /assets/{version}/{name}`
pub async fn asset(path: web::Path<(String, String)>) -> HttpResponse {
    match FILES.iter().find(|(name, ..)| *name == path.1) {
        Some((_, media_type, content)) => HttpResponse::Ok()
            .content_type(*media_type)
            .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .body(*content),
        None => HttpResponse::NotFound().finish(),
    }
}
