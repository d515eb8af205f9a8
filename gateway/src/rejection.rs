//! Refusals: every way a request can be answered other than 202, and the one place where a
//! rejection becomes a status.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use trailpad_common::activity::{Finding, PayloadError};
use utoipa::ToSchema;

use crate::decompress::ACCEPTED_ENCODINGS;

/// Why a request is not answered 202.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// No such path.
    NotFound,
    /// Another method than POST.
    MethodNotAllowed,
    /// An unknown, malformed or rotated-out token.
    InvalidToken,
    /// The webhook was revoked.
    WebhookRevoked,
    /// The body is not said to be JSON.
    MediaType,
    /// The body has a content coding that is not known here.
    Encoding,
    /// A header that is used here has a wrong value: which, and what to do.
    Header(&'static str),
    /// The body is larger than the bound, in bytes.
    TooLarge(usize),
    /// The body can't be decompressed.
    Corrupt,
    /// The body did not arrive in time.
    TooSlow,
    /// What the payload's rules say.
    Payload(PayloadError),
    /// Over the webhook's rate limit; when to come back.
    RateLimited(Duration),
    /// It was never handed to the queue: why.
    NotAccepted(NotAccepted),
    /// It was handed to the queue, and no confirm came.
    OutcomeUnknown,
}

/// Why an activity was not handed to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// As much is in flight as may be.
    Overloaded,
    /// The gateway is shutting down.
    ShuttingDown,
    /// The queue can't be reached, or takes nothing.
    QueueUnavailable,
    /// The token can't be judged while the store is away.
    RegistryStale,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    /// Which problem: stable, for programs.
    r#type: &'static str,
    /// The problem, in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What to do about it, in a sentence.
    detail: Cow<'a, str>,
    /// Where the body stops being JSON, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<usize>,
    /// Where in that line, in characters, from 1.
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
    /// Status, stable type and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotFound => (S::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Only POST is answered here")
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
                "The body has an unknown content coding",
            ),
            Self::Header(_) => (S::BAD_REQUEST, "invalid-header", "A header has a wrong value"),
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
                (S::UNPROCESSABLE_ENTITY, "invalid-activity", "The activity has faults")
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

    /// The stable type: the answer's, and the metric's reason.
    pub fn reason(&self) -> &'static str {
        self.kind().1
    }

    /// What to do about it, in a sentence.
    fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::NotFound => "activities are posted to /webhooks/ingress/YOUR_SECURE_TOKEN".into(),
            Self::MethodNotAllowed => "send the activity with POST".into(),
            Self::InvalidToken => "the token in the URL is unknown or was replaced: copy the webhook's URL anew from the dashboard".into(),
            Self::WebhookRevoked => "this webhook takes no more activities: create a new one and use its URL".into(),
            Self::MediaType => "send the header Content-Type: application/json (with curl: -H 'Content-Type: application/json')".into(),
            Self::Encoding => format!("send the body with one of these content codings, or with none: {ACCEPTED_ENCODINGS}").into(),
            Self::Header(detail) => (*detail).into(),
            Self::TooLarge(bytes_max) => format!("a body may have {bytes_max} bytes, also once decompressed: send less in metadata or description").into(),
            Self::Corrupt => "the body is not what its Content-Encoding says, or is cut short".into(),
            Self::TooSlow => "send the whole body without long pauses".into(),
            Self::Payload(PayloadError::NotJson { line, column, detail }) => format!("line {line}, column {column}: {detail}").into(),
            Self::Payload(PayloadError::NotAnObject) => "send one activity as a JSON object, such as {\"title\": \"…\", \"startTime\": \"2024-08-03T11:30:00Z\"}".into(),
            Self::Payload(PayloadError::Faults(faults)) if faults.len() == 1 => "one fault is listed in errors".into(),
            Self::Payload(PayloadError::Faults(faults)) => format!("{} faults are listed in errors", faults.len()).into(),
            Self::RateLimited(_) => "send fewer activities a second, or come back after Retry-After".into(),
            Self::NotAccepted(why) => why.detail().into(),
            Self::OutcomeUnknown => "the activity may be stored or not: repeating it is safe if it has an externalId or the request an Idempotency-Key".into(),
        }
    }

    /// The answer's body: problem details as JSON.
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

    /// The answer.
    pub fn response(&self) -> HttpResponse {
        let (status, ..) = self.kind();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        match self {
            Self::MethodNotAllowed => {
                response.insert_header((ALLOW, "POST"));
            }
            // RFC 9110 (11.6.1) asks for a challenge with every 401.
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
                "more is in flight than this gateway takes: send it again after Retry-After"
            }
            Self::ShuttingDown => {
                "this gateway is shutting down: send it again, another one will answer"
            }
            Self::QueueUnavailable => {
                "the queue can't be reached at the moment: send it again after Retry-After"
            }
            Self::RegistryStale => {
                "the webhook's token can't be judged at the moment: send it again after Retry-After"
            }
        }
    }
}

impl From<PayloadError> for Rejection {
    fn from(rejection: PayloadError) -> Self {
        Self::Payload(rejection)
    }
}

impl From<NotAccepted> for Rejection {
    fn from(why: NotAccepted) -> Self {
        Self::NotAccepted(why)
    }
}
