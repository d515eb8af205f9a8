//! The ingress handler: every step from a request to its response, in order.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use trailpad_common::activity::{Activity, Limits};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch};
use trailpad_common::timestamp::Timestamp;

use crate::accepted::Accepted;
use crate::admission::Admission;
use crate::authenticator::Authenticator;
use crate::body::{self, BodyLimits};
use crate::group_commit::{GroupCommit, Submission};
use crate::headers::RequestHeaders;
use crate::observation::{Observation, Observer};
use crate::rejection::{NotAccepted, Rejection};
use crate::ticket::Outcome;
use trailpad_common::webhook::INGRESS_PATH;

/// State shared by all HTTP threads.
pub struct Gateway {
    pub authenticator: Authenticator,
    pub admission: Arc<Admission>,
    pub group_commit: GroupCommit,
    pub queue_health: HealthWatch,
    pub lifecycle: LifecycleWatch,
    pub body_limits: BodyLimits,
    pub observer: Observer,
}

/// Handles every request except those for the OpenAPI document.
pub async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    let mut observation = gateway.observer.begin();
    let result = gateway.ingest(&request, payload.into_inner(), &mut observation).await;
    observation.finish(&result);
    match result {
        Ok(accepted) => accepted.response(),
        Err(rejection) => rejection.response(),
    }
}

impl Gateway {
    async fn ingest(
        &self,
        request: &HttpRequest,
        mut payload: Payload,
        observation: &mut Observation<'_>,
    ) -> Result<Accepted, Rejection> {
        let token = route(request)?;
        let webhook = observation.webhook.insert(self.authenticator.authenticate(token).await?);
        self.check_open()?;
        let headers = RequestHeaders::read(request.headers())?;
        let traceparent = observation.span.start(headers.traceparent);
        webhook.check_rate().map_err(Rejection::RateLimited)?;
        let mut permit = self.admission.reserve().ok_or(NotAccepted::Overloaded)?;
        let body = body::read(&mut payload, &headers, self.body_limits, &mut permit).await?;
        let received_at = Timestamp::now();
        let warnings = Activity::parse(&body, headers.handling, &Limits::INGRESS)?.warnings;
        let id = activity_id(webhook.webhook_id, headers.idempotency_key, received_at);
        let submission = Submission {
            id,
            webhook_id: webhook.webhook_id,
            received_at,
            traceparent,
            activity: body,
            permit,
        };
        match self.group_commit.submit(submission).await {
            Outcome::Accepted => Ok(Accepted { id, warnings, handling: headers.handling }),
            Outcome::NotAccepted => Err(self.why_not_accepted().into()),
            Outcome::Unknown => Err(Rejection::OutcomeUnknown),
        }
    }

    /// Rejects activities early while the gateway drains or the queue is unavailable.
    fn check_open(&self) -> Result<(), NotAccepted> {
        if self.lifecycle.is_draining() {
            return Err(NotAccepted::ShuttingDown);
        }
        match *self.queue_health.borrow() {
            Health::Up => Ok(()),
            Health::Down(_) => Err(NotAccepted::QueueUnavailable),
        }
    }

    fn why_not_accepted(&self) -> NotAccepted {
        self.check_open().err().unwrap_or(NotAccepted::Overloaded)
    }
}

/// Returns the token of a `POST /webhooks/ingress/{token}`. Compares the only path here, because a
/// router would match a regular expression for each request.
fn route(request: &HttpRequest) -> Result<&str, Rejection> {
    let token = request.path().strip_prefix(INGRESS_PATH).ok_or(Rejection::NotFound)?;
    if token.is_empty() || token.contains('/') {
        return Err(Rejection::NotFound);
    }
    if request.method() != Method::POST {
        return Err(Rejection::MethodNotAllowed);
    }
    Ok(token)
}

fn activity_id(
    webhook_id: WebhookId,
    idempotency_key: Option<&[u8]>,
    received_at: Timestamp,
) -> ActivityId {
    match idempotency_key {
        Some(key) => ActivityId::of_idempotency_key(webhook_id, key),
        None => ActivityId::received_at(received_at),
    }
}
