//! The ingress: what a gateway does with a request, in order.

use std::sync::Arc;
use std::time::Instant as Clock;

use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use trailpad_common::activity::{Activity, Finding, Handling, Limits};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::instant::Instant;
use trailpad_common::lifecycle::{Health, HealthWatch, LifecycleWatch};

use crate::admission::Admission;
use crate::body::{self, BodyLimits};
use crate::doorkeeper::Doorkeeper;
use crate::group_commit::{GroupCommit, Submission};
use crate::headers::RequestHeaders;
use crate::metrics::Metrics;
use crate::problem::{NotAccepted, Refusal};
use crate::ticket::Outcome;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the handlers share.
pub struct Gateway {
    pub doorkeeper: Arc<Doorkeeper>,
    pub admission: Arc<Admission>,
    pub group_commit: GroupCommit,
    pub queue_health: HealthWatch,
    pub lifecycle: LifecycleWatch,
    pub body_limits: BodyLimits,
    pub metrics: Metrics,
}

/// An activity that the queue holds.
#[derive(Serialize)]
struct Accepted {
    id: ActivityId,
    warnings: Vec<Finding>,
    #[serde(skip)]
    handling: Option<Handling>,
}

/// Where activities are posted to; the token follows.
const INGRESS: &str = "/webhooks/ingress/";

/// Answers every request. There is one path, so it is compared here: a router would match a
/// regular expression for each request.
pub async fn answer(
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    let began = Clock::now();
    match gateway.route(&request, payload).await {
        Ok(accepted) => {
            gateway.metrics.accepted.inc();
            gateway.metrics.accept_seconds.observe(began.elapsed().as_secs_f64());
            accepted.response()
        }
        Err(refusal) => {
            gateway.metrics.refused.with_label_values(&[refusal.reason()]).inc();
            refusal.response()
        }
    }
}

impl Gateway {
    async fn route(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Accepted, Refusal> {
        let token = request.path().strip_prefix(INGRESS).ok_or(Refusal::NotFound)?;
        if token.is_empty() || token.contains('/') {
            return Err(Refusal::NotFound);
        }
        if request.method() != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        self.accept(token, request, payload).await
    }

    /// `POST /webhooks/ingress/{token}`
    async fn accept(
        &self,
        token: &str,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Accepted, Refusal> {
        let webhook = self.doorkeeper.admit(token).await?;
        self.check_open()?;
        let headers = RequestHeaders::read(request.headers())?;
        webhook.check_rate().map_err(Refusal::RateLimited)?;
        let mut permit = self.admission.admit().ok_or(NotAccepted::Overloaded)?;
        let activity = body::read(
            request.headers(),
            &mut payload.into_inner(),
            headers.encoding,
            self.body_limits,
            &mut permit,
        )
        .await?;
        let received_at = Instant::now();
        let parsed = Activity::parse(&activity, headers.handling, &Limits::INGRESS)?;
        let (warnings, handling) = (parsed.warnings, headers.handling);
        let id = activity_id(webhook.webhook_id, headers.idempotency_key, received_at);
        let submission = Submission {
            id,
            webhook_id: webhook.webhook_id,
            received_at,
            traceparent: headers.traceparent.map(Into::into),
            activity,
            _permit: permit,
        };
        match self.group_commit.submit(submission).await {
            Outcome::Accepted => {
                let handling = (handling == Handling::Strict).then_some(handling);
                Ok(Accepted { id, warnings, handling })
            }
            Outcome::NotAccepted => Err(self.why_not_accepted().into()),
            Outcome::Unknown => Err(Refusal::OutcomeUnknown),
        }
    }

    /// Refuses at once what the queue could not take.
    fn check_open(&self) -> Result<(), NotAccepted> {
        if self.lifecycle.is_draining() {
            return Err(NotAccepted::ShuttingDown);
        }
        match *self.queue_health.borrow() {
            Health::Up => Ok(()),
            Health::Down(_) => Err(NotAccepted::QueueAway),
        }
    }

    fn why_not_accepted(&self) -> NotAccepted {
        self.check_open().err().unwrap_or(NotAccepted::Overloaded)
    }
}

fn activity_id(webhook: WebhookId, idempotency_key: Option<&[u8]>, at: Instant) -> ActivityId {
    match idempotency_key {
        Some(key) => ActivityId::of_idempotency_key(webhook, key),
        None => ActivityId::received_at(at),
    }
}

impl Accepted {
    fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::Accepted();
        response.content_type("application/json");
        if self.handling == Some(Handling::Strict) {
            response
                .insert_header((PREFERENCE_APPLIED, HeaderValue::from_static("handling=strict")));
        }
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}
