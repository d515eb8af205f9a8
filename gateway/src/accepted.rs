//! The response 202.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde::Serialize;
use trailpad_common::activity::{Finding, Handling};
use trailpad_common::id::ActivityId;
use utoipa::ToSchema;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// An activity that is durable in the queue.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// The activity's id.
    #[schema(value_type = String, format = "uuid")]
    pub id: ActivityId,
    /// Findings that did not prevent acceptance.
    pub warnings: Vec<Finding>,
    #[serde(skip)]
    #[schema(ignore)]
    pub handling: Handling,
}

impl Accepted {
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::Accepted();
        response.content_type("application/json");
        if self.handling == Handling::Strict {
            response
                .insert_header((PREFERENCE_APPLIED, HeaderValue::from_static("handling=strict")));
        }
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}
