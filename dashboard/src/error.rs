//! Errors of pages, rendered as HTML pages. Every text says how to proceed.

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

/// Reason that a page is not shown, or an action not performed.
#[derive(Debug, PartialEq)]
pub enum PageError {
    /// No valid session. Holds the path of the sign-in page.
    SignedOut(String),
    /// Does not exist, or belongs to another workspace.
    NotFound,
    /// The member's role does not allow it.
    Forbidden,
    /// The form did not come from a page of this dashboard.
    Forged,
    /// The request can't be fulfilled. Holds the reason.
    Rejected(String),
    /// The form has more bytes than any form of this dashboard.
    TooLarge,
    /// Too many password attempts.
    TooManyAttempts,
    /// The store or the queue is unavailable. Holds which one, and why.
    Unavailable(String),
    /// A bug. Holds a description of the failure.
    Internal(&'static str),
}

impl PageError {
    /// Logs errors that the visitor can't fix. The others do not concern the operator.
    pub fn log(&self, page: &str) {
        match self {
            Self::Internal(cause) => error!(page, cause, "a page failed"),
            Self::Unavailable(cause) => warn!(page, cause, "a page failed"),
            _ => {}
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignedOut(_) => StatusCode::SEE_OTHER,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::Forged => StatusCode::FORBIDDEN,
            Self::Rejected(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::SignedOut(_) => "Sign in",
            Self::NotFound => "There is nothing here",
            Self::Forbidden => "This is for owners and admins",
            Self::Forged => "Please try again",
            Self::Rejected(_) => "That can't be done",
            Self::TooLarge => "The form is too large",
            Self::TooManyAttempts => "Too many attempts",
            Self::Unavailable(_) => "Not possible at the moment",
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
            Self::Rejected(why) => why,
            Self::TooLarge => "Go back and write less, or select fewer.",
            Self::TooManyAttempts => "Wait half a minute before you try again, or ask an admin for a one-time link.",
            Self::Unavailable(why) => return write!(f, "{why}. Try again in a moment."),
            Self::Internal(_) => "Something went wrong on our side; the dashboard's log has details. Try again.",
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
        // Errors raised outside a handler bypass the middleware that adds these headers.
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
            AdminError::Conflict(why) => Self::Rejected(sentence(&why.to_string())),
            AdminError::Unavailable(why) => Self::Unavailable(sentence(&why.to_string())),
        }
    }
}

impl From<PublishError> for PageError {
    fn from(error: PublishError) -> Self {
        Self::Unavailable(sentence(&error.to_string()))
    }
}

/// Capitalises the first letter unless the text begins with an e-mail address. Adds no full stop.
fn sentence(text: &str) -> String {
    if text.split(' ').next().is_some_and(|word| word.contains('@')) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
