//! Every rejection of a request. Only this module maps rejections to HTTP responses.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use trailpad_common::activity::{Finding, PayloadError};
use utoipa::ToSchema;

use crate::decompress::ACCEPTED_ENCODINGS;
use trailpad_common::webhook::INGRESS_PATH;

#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    NotFound,
    /// A method other than POST.
    MethodNotAllowed,
    /// The token is unknown, malformed or no longer valid after a rotation.
    InvalidToken,
    WebhookRevoked,
    /// The `Content-Type` is not JSON in UTF-8.
    MediaType,
    /// The `Content-Encoding` is not supported.
    Encoding,
    /// A header has an invalid value. Holds a sentence that says how to fix it.
    Header(&'static str),
    /// The body is larger than this limit, in bytes.
    TooLarge(usize),
    /// The body is incomplete or can't be decompressed.
    Corrupt,
    /// The body did not arrive in time.
    TooSlow,
    Payload(PayloadError),
    /// The webhook is over its rate limit for this time.
    RateLimited(Duration),
    NotAccepted(NotAccepted),
    /// The activity was handed to the queue, and no confirm arrived.
    OutcomeUnknown,
}

/// A reason not to hand an activity to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// A limit of requests or bytes in flight is reached.
    Overloaded,
    ShuttingDown,
    /// The queue is unreachable, or accepts no messages.
    QueueUnavailable,
    /// The registry was not refreshed recently enough to authenticate the token.
    RegistryStale,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    /// Identifies the problem; stable, for programs.
    r#type: &'static str,
    /// A short summary of the problem.
    title: &'static str,
    /// The HTTP status of the response.
    status: u16,
    /// How to fix the problem.
    detail: Cow<'a, str>,
    /// The line where the body stops being valid JSON, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<usize>,
    /// The column in that line, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    column: Option<usize>,
    /// Every fault of the activity.
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Finding],
}

const RETRY_AFTER_SECONDS: u64 = 2;

impl Rejection {
    /// Returns the status, the stable type and the title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Only POST is allowed")
            }
            Self::InvalidToken => {
                (S::UNAUTHORIZED, "invalid-token", "The webhook URL is not valid")
            }
            Self::WebhookRevoked => (S::GONE, "webhook-revoked", "The webhook was revoked"),
            Self::MediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            Self::Encoding => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-encoding",
                "The content coding is not supported",
            ),
            Self::Header(_) => (S::BAD_REQUEST, "invalid-header", "A header has an invalid value"),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::Corrupt => (S::BAD_REQUEST, "corrupt-body", "The body can't be decompressed"),
            Self::TooSlow => (S::REQUEST_TIMEOUT, "too-slow", "The body did not arrive in time"),
            Self::Payload(PayloadError::NotJson { .. }) => {
                (S::BAD_REQUEST, "not-json", "The body is not JSON")
            }
            Self::Payload(PayloadError::NotAnObject) => {
                (S::BAD_REQUEST, "not-an-object", "The body is not a JSON object")
            }
            Self::Payload(PayloadError::Faults(_)) => {
                (S::UNPROCESSABLE_ENTITY, "invalid-activity", "The activity is invalid")
            }
            Self::RateLimited(_) => {
                (S::TOO_MANY_REQUESTS, "rate-limited", "Too many activities for this webhook")
            }
            Self::NotAccepted(_) => {
                (S::SERVICE_UNAVAILABLE, "not-accepted", "The activity was not accepted")
            }
            Self::OutcomeUnknown => {
                (S::SERVICE_UNAVAILABLE, "outcome-unknown", "The outcome is unknown")
            }
        }
    }

    /// The stable type, which is also the `reason` label of the metric.
    pub fn reason(&self) -> &'static str {
        self.kind().1
    }

    /// Says how to fix the problem.
    fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::NotFound => format!("post activities to {INGRESS_PATH}YOUR_SECURE_TOKEN").into(),
            Self::MethodNotAllowed => "send the activity with POST".into(),
            Self::InvalidToken => "the token in the URL is unknown or was replaced: copy the webhook's current URL from the dashboard".into(),
            Self::WebhookRevoked => "this webhook no longer accepts activities: create a new webhook and use its URL".into(),
            Self::MediaType => "send the header Content-Type: application/json (with curl: -H 'Content-Type: application/json')".into(),
            Self::Encoding => format!("send the body without a content coding, or with one of these: {ACCEPTED_ENCODINGS}").into(),
            Self::Header(detail) => (*detail).into(),
            Self::TooLarge(bytes_max) => format!("the body may be at most {bytes_max} bytes, also after decompression: shorten metadata or description").into(),
            Self::Corrupt => "the body does not match its Content-Encoding, or is incomplete".into(),
            Self::TooSlow => "send the whole body without long pauses".into(),
            Self::Payload(PayloadError::NotJson { line, column, detail }) => format!("line {line}, column {column}: {detail}").into(),
            Self::Payload(PayloadError::NotAnObject) => "send one activity as a JSON object, such as {\"title\": \"…\", \"startTime\": \"2024-08-03T11:30:00Z\"}".into(),
            Self::Payload(PayloadError::Faults(faults)) if faults.len() == 1 => "one fault is listed in errors".into(),
            Self::Payload(PayloadError::Faults(faults)) => format!("{} faults are listed in errors", faults.len()).into(),
            Self::RateLimited(_) => "send fewer activities per second, or retry after the time in Retry-After".into(),
            Self::NotAccepted(reason) => reason.detail().into(),
            Self::OutcomeUnknown => "the activity may or may not be stored: sending it again is safe if it has an externalId or the request has an Idempotency-Key".into(),
        }
    }

    /// The response body: problem details (RFC 9457) as JSON.
    pub fn body(&self) -> Vec<u8> {
        let (status, r#type, title) = self.kind();
        let (line, column) = match self {
            Self::Payload(PayloadError::NotJson { line, column, .. }) => {
                (Some(*line), Some(*column))
            }
            _ => (None, None),
        };
        let errors = match self {
            Self::Payload(PayloadError::Faults(faults)) => faults.as_slice(),
            _ => &[],
        };
        let problem = Problem {
            r#type,
            title,
            status: status.as_u16(),
            detail: self.detail(),
            line,
            column,
            errors,
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    pub fn response(&self) -> HttpResponse {
        let (status, ..) = self.kind();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        match self {
            Self::MethodNotAllowed => {
                response.insert_header((ALLOW, "POST"));
            }
            // RFC 9110 (11.6.1) requires a challenge with every 401.
            Self::InvalidToken => {
                response.insert_header((WWW_AUTHENTICATE, "Webhook realm=\"trailpad\""));
            }
            Self::Encoding => {
                response.insert_header((ACCEPT_ENCODING, ACCEPTED_ENCODINGS));
            }
            Self::RateLimited(wait) => {
                response.insert_header((RETRY_AFTER, wait.as_secs_f64().ceil().max(1.0) as u64));
            }
            Self::NotAccepted(_) | Self::OutcomeUnknown => {
                response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            _ => {}
        }
        if matches!(self, Self::TooSlow | Self::NotAccepted(NotAccepted::ShuttingDown)) {
            response.force_close();
        }
        response.body(self.body())
    }
}

impl NotAccepted {
    fn detail(self) -> &'static str {
        match self {
            Self::Overloaded => {
                "this gateway is at its limit of concurrent requests: retry after the time in Retry-After"
            }
            Self::ShuttingDown => {
                "this gateway is shutting down: send the request again, another gateway will answer"
            }
            Self::QueueUnavailable => {
                "the queue is unavailable at the moment: retry after the time in Retry-After"
            }
            Self::RegistryStale => {
                "the token can't be authenticated at the moment: retry after the time in Retry-After"
            }
        }
    }
}

impl From<PayloadError> for Rejection {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}

impl From<NotAccepted> for Rejection {
    fn from(reason: NotAccepted) -> Self {
        Self::NotAccepted(reason)
    }
}
