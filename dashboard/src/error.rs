//! What a page can't do, as a page: every error is a sentence that says what to do.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, ResponseError};
use maud::html;
use tracing::{error, warn};
use trailpad_common::admin::AdminError;
use trailpad_common::queue::PublishError;

use crate::layout;
use crate::security::HEADERS;

/// Why a page is not shown, or an action not done.
#[derive(Debug, PartialEq)]
pub enum PageError {
    /// Nobody is signed in: where to do so.
    SignedOut(String),
    /// There is nothing here, or nothing of this workspace.
    NotFound,
    /// The member's role does not allow it.
    Forbidden,
    /// The form did not come from a page of ours.
    Forged,
    /// What was asked can't be done: why.
    Refused(String),
    /// The form has more bytes than any of ours.
    TooLarge,
    /// Too many tries at signing in.
    TooMany,
    /// The store or the queue is away: which, and why.
    Away(String),
    /// A bug: what failed.
    Internal(&'static str),
}

impl PageError {
    /// Tells the operator what a page's visitor can't mend; the rest is no news to them.
    pub fn log(&self, page: &str) {
        match self {
            Self::Internal(cause) => error!(page, cause, "a page failed"),
            Self::Away(cause) => warn!(page, cause, "a page failed"),
            _ => {}
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignedOut(_) => StatusCode::SEE_OTHER,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::Forged => StatusCode::FORBIDDEN,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::SignedOut(_) => "Sign in",
            Self::NotFound => "There is nothing here",
            Self::Forbidden => "This is for owners and admins",
            Self::Forged => "Please try again",
            Self::Refused(_) => "That can't be done",
            Self::TooLarge => "The form is too large",
            Self::TooMany => "Too many tries",
            Self::Away(_) => "Not possible at the moment",
            Self::Internal(_) => "Something went wrong",
        }
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignedOut(_) => "Sign in to see this page.",
            Self::NotFound => "The page does not exist, or what it showed is not in this workspace.",
            Self::Forbidden => "Your role lets you see the workspace, not change it. Ask an owner or an admin of it.",
            Self::Forged => "The form was too old, or did not come from this dashboard. Go back, reload the page and send it again.",
            Self::Refused(why) => why,
            Self::TooLarge => "Go back and write less, or select fewer.",
            Self::TooMany => "Wait half a minute before you try again, or ask an admin for a one-time link.",
            Self::Away(why) => return write!(f, "{why}. Try again in a moment."),
            Self::Internal(_) => "This is a fault of ours, and the log of the dashboard says more. Try again.",
        })
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::SignedOut(path) = self {
            return HttpResponse::SeeOther().insert_header((LOCATION, path.as_str())).finish();
        }
        let body = html! {
            h1 { (self.title()) }
            p { (self) }
            p { a.button href="/" { "To the activities" } }
        };
        let page = layout::plain(self.title(), &body);
        let mut response = HttpResponse::build(self.status());
        // An answer that came from no handler passes by whatever adds them elsewhere.
        HEADERS.into_iter().for_each(|header| {
            response.insert_header(header);
        });
        response.content_type("text/html; charset=utf-8").body(page.0)
    }
}

impl From<AdminError> for PageError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound(_) => Self::NotFound,
            AdminError::Conflict(why) => Self::Refused(sentence(&why)),
            AdminError::Unavailable(why) => Self::Away(sentence(&why.to_string())),
        }
    }
}

impl From<PublishError> for PageError {
    fn from(error: PublishError) -> Self {
        Self::Away(sentence(&error.to_string()))
    }
}

/// With a capital, unless it begins with an address, and no full stop.
fn sentence(text: &str) -> String {
    if text.split(' ').next().is_some_and(|word| word.contains('@')) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
