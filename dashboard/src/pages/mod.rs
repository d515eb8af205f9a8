//! The pages, one file each.

pub mod account;
pub mod activities;
pub mod dead_letter_actions;
pub mod dead_letters;
pub mod general;
pub mod integrations;
mod live_rows;
pub mod members;
mod pretty;
pub mod projects;
mod search;
pub mod sign_in;
mod snippets;
pub mod webhook;
pub mod webhook_actions;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;

/// Redirects to a page after an action.
fn redirect(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, path)).finish()
}
