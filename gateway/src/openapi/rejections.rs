//! One example of every rejection, for the OpenAPI document.

use std::time::Duration;

use trailpad_common::activity::{Code, Finding, PayloadError};

use crate::rejection::{NotAccepted, Rejection};

/// Makes `every_rejection` and an exhaustive match from the same list. A variant without an example
/// is therefore a compile error.
macro_rules! every_rejection {
    ($($variant:pat => $name:literal: $example:expr),+ $(,)?) => {
        /// One rejection of each kind, with values that make good examples, each with a name.
        pub fn every_rejection() -> Vec<(&'static str, Rejection)> {
            let rejections = vec![$(($name, $example)),+];
            for (_, rejection) in &rejections {
                match rejection {
                    $($variant => {})+
                }
            }
            rejections
        }
    };
}

every_rejection! {
    Rejection::NotFound => "not-found": Rejection::NotFound,
    Rejection::MethodNotAllowed => "method-not-allowed": Rejection::MethodNotAllowed,
    Rejection::InvalidToken => "invalid-token": Rejection::InvalidToken,
    Rejection::WebhookRevoked => "webhook-revoked": Rejection::WebhookRevoked,
    Rejection::MediaType => "unsupported-media-type": Rejection::MediaType,
    Rejection::Encoding => "unsupported-encoding": Rejection::Encoding,
    Rejection::Header(_) => "invalid-header":
        Rejection::Header("send exactly one Idempotency-Key"),
    Rejection::TooLarge(_) => "too-large": Rejection::TooLarge(262_144),
    Rejection::Corrupt => "corrupt-body": Rejection::Corrupt,
    Rejection::TooSlow => "too-slow": Rejection::TooSlow,
    Rejection::Payload(PayloadError::NotJson { .. }) => "not-json": not_json(),
    Rejection::Payload(PayloadError::NotAnObject) => "not-an-object":
        Rejection::Payload(PayloadError::NotAnObject),
    Rejection::Payload(PayloadError::Faults(_)) => "invalid-activity": invalid_activity(),
    Rejection::RateLimited(_) => "rate-limited": Rejection::RateLimited(Duration::from_secs(1)),
    Rejection::NotAccepted(NotAccepted::Overloaded) => "not-accepted-overloaded":
        NotAccepted::Overloaded.into(),
    Rejection::NotAccepted(NotAccepted::ShuttingDown) => "not-accepted-shutting-down":
        NotAccepted::ShuttingDown.into(),
    Rejection::NotAccepted(NotAccepted::QueueUnavailable) => "not-accepted-queue-unavailable":
        NotAccepted::QueueUnavailable.into(),
    Rejection::NotAccepted(NotAccepted::RegistryStale) => "not-accepted-registry-stale":
        NotAccepted::RegistryStale.into(),
    Rejection::OutcomeUnknown => "outcome-unknown": Rejection::OutcomeUnknown,
}

fn not_json() -> Rejection {
    let detail = "a value is missing here".into();
    Rejection::Payload(PayloadError::NotJson { line: 1, column: 10, detail })
}

fn invalid_activity() -> Rejection {
    let fault = Finding {
        pointer: "/startTime".into(),
        code: Code::Required,
        detail: "startTime is missing: send an ISO 8601 date and time".into(),
    };
    Rejection::Payload(PayloadError::Faults(vec![fault]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn examples_have_distinct_names_that_begin_with_the_type_of_their_rejection() {
        let mut names = BTreeSet::new();
        for (name, rejection) in every_rejection() {
            assert!(name.starts_with(rejection.reason()), "{name}");
            assert!(names.insert(name), "{name}");
        }
    }
}
