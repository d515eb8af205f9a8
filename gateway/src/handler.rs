//! The ingress: what a gateway does with a request, in order.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use trailpad_common::activity::{Activity, Finding, Handling, Limits};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch};
use trailpad_common::runtime::trace::{Span, SpanKind, TraceContext, Tracer};
use trailpad_common::timestamp::Timestamp;
use utoipa::ToSchema;

use crate::admission::Admission;
use crate::authenticator::Authenticator;
use crate::body::{self, BodyLimits};
use crate::group_commit::{GroupCommit, Submission};
use crate::headers::RequestHeaders;
use crate::metrics::Metrics;
use crate::registry::RegisteredWebhook;
use crate::rejection::{NotAccepted, Rejection};
use crate::ticket::Outcome;
use crate::traffic::RejectedRequests;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the handlers share.
pub struct Gateway {
    pub authenticator: Arc<Authenticator>,
    pub admission: Arc<Admission>,
    pub group_commit: GroupCommit,
    pub queue_health: HealthWatch,
    pub lifecycle: LifecycleWatch,
    pub body_limits: BodyLimits,
    pub metrics: Metrics,
    pub tracer: Tracer,
    pub rejected: RejectedRequests,
}

/// An activity that the queue holds.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// The activity's id.
    #[schema(value_type = String, format = "uuid")]
    id: ActivityId,
    /// What the sender should know, though the activity was accepted.
    warnings: Vec<Finding>,
    #[serde(skip)]
    #[schema(ignore)]
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
    let began = Instant::now();
    match gateway.route(&request, payload).await {
        Ok(accepted) => {
            gateway.metrics.accepted.inc();
            gateway.metrics.accept_seconds.observe(began.elapsed().as_secs_f64());
            accepted.response()
        }
        Err(rejection) => {
            gateway.metrics.rejected.with_label_values(&[rejection.reason()]).inc();
            rejection.response()
        }
    }
}

impl Gateway {
    async fn route(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Accepted, Rejection> {
        let token = request.path().strip_prefix(INGRESS).ok_or(Rejection::NotFound)?;
        if token.is_empty() || token.contains('/') {
            return Err(Rejection::NotFound);
        }
        if request.method() != Method::POST {
            return Err(Rejection::MethodNotAllowed);
        }
        self.accept(token, request, payload).await
    }

    /// `POST /webhooks/ingress/{token}`
    async fn accept(
        &self,
        token: &str,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Accepted, Rejection> {
        let webhook = self.authenticator.admit(token).await?;
        let answered = self.answer_webhook(&webhook, request, payload).await;
        match &answered {
            Ok(_) => webhook.tally.accepted(),
            Err(rejection) => self.rejected.note(&webhook, rejection),
        }
        answered
    }

    /// What comes after the token.
    async fn answer_webhook(
        &self,
        webhook: &RegisteredWebhook,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Accepted, Rejection> {
        self.check_open()?;
        let mut headers = RequestHeaders::read(request.headers())?;
        let Some(context) = self.tracer.begin(headers.traceparent) else {
            return self.take(webhook, request, headers, payload).await;
        };
        let (parent, began) = (headers.traceparent.replace(context), Timestamp::now());
        let taken = self.take(webhook, request, headers, payload).await;
        self.record(context, parent, began, webhook.webhook_id, &taken);
        taken
    }

    /// From the headers to the confirm.
    async fn take(
        &self,
        webhook: &RegisteredWebhook,
        request: &HttpRequest,
        headers: RequestHeaders<'_>,
        payload: web::Payload,
    ) -> Result<Accepted, Rejection> {
        webhook.check_rate().map_err(Rejection::RateLimited)?;
        let mut permit = self.admission.admit().ok_or(NotAccepted::Overloaded)?;
        let activity = body::read(
            request.headers(),
            &mut payload.into_inner(),
            headers.encoding,
            self.body_limits,
            &mut permit,
        )
        .await?;
        let received_at = Timestamp::now();
        let parsed = Activity::parse(&activity, headers.handling, &Limits::INGRESS)?;
        let (warnings, handling) = (parsed.warnings, headers.handling);
        let id = activity_id(webhook.webhook_id, headers.idempotency_key, received_at);
        let submission = Submission {
            id,
            webhook_id: webhook.webhook_id,
            received_at,
            traceparent: headers.traceparent,
            activity,
            _permit: permit,
        };
        match self.group_commit.submit(submission).await {
            Outcome::Accepted => {
                let handling = (handling == Handling::Strict).then_some(handling);
                Ok(Accepted { id, warnings, handling })
            }
            Outcome::NotAccepted => Err(self.why_not_accepted().into()),
            Outcome::Unknown => Err(Rejection::OutcomeUnknown),
        }
    }

    /// Names OpenTelemetry's semantic conventions have are theirs.
    fn record(
        &self,
        context: TraceContext,
        parent: Option<TraceContext>,
        began: Timestamp,
        webhook: WebhookId,
        taken: &Result<Accepted, Rejection>,
    ) {
        let mut attributes = vec![
            ("http.request.method", "POST".to_owned()),
            ("http.route", "/webhooks/ingress/{token}".to_owned()),
            ("trailpad.webhook.id", webhook.to_string()),
        ];
        let error = match taken {
            Ok(accepted) => {
                attributes.push(("trailpad.activity.id", accepted.id.to_string()));
                None
            }
            Err(rejection) => Some(rejection.reason()),
        };
        let (name, kind, ended) = ("accept activity", SpanKind::Server, Timestamp::now());
        self.tracer.record(Span { name, kind, context, parent, began, ended, attributes, error });
    }

    /// Refuses at once what the queue could not take.
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

fn activity_id(webhook: WebhookId, idempotency_key: Option<&[u8]>, at: Timestamp) -> ActivityId {
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
