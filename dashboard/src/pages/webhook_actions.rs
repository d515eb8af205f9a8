//! Actions on a webhook: send a test activity, rename, rotate the token, revoke.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use trailpad_common::id::ActivityId;
use trailpad_common::queue::envelope::{Batch, Envelope};
use trailpad_common::queue::{Destination, MessageKind};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::Counts;
use trailpad_common::webhook::token::NewToken;

use super::integrations::new_url;
use super::redirect;
use super::webhook::find;
use crate::error::PageError;
use crate::session::SignedForm;
use crate::state::{Dashboard, PUBLISH_TIMEOUT};

const GRACE_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;

type Shared = web::Data<Dashboard>;
type Answer = Result<HttpResponse, PageError>;

/// `POST /webhooks/{id}/test`: publishes an activity through the queue, like any other.
pub async fn test(dashboard: Shared, id: web::Path<String>, form: SignedForm) -> Answer {
    form.viewer.must_manage()?;
    let webhook = find(&dashboard, &form.viewer, &id).await?;
    if webhook.revoked_at.is_some() {
        return Err(PageError::Rejected(
            "The webhook is revoked: it takes no more activities".into(),
        ));
    }
    let id = ActivityId::received_at(Timestamp::now());
    let now = Timestamp::now();
    let activity = serde_json::json!({
        "title": "Test activity",
        "description": format!("Sent from the dashboard by {}.", form.viewer.identity.email),
        "startTime": now.to_string(),
        "trigger": "Send test activity",
        "memberEmail": form.viewer.identity.email.as_str(),
    });
    let activity = activity.to_string();
    let mut batch = Batch::with_capacity(1_024);
    batch.push(&Envelope {
        id,
        webhook_id: webhook.id,
        received_at: now,
        attempt: 1,
        traceparent: None,
        activity: &activity,
    });
    let body = batch.finish();
    let mut publisher = dashboard.publisher()?;
    let publishing = publisher.publish(Destination::Activities, MessageKind::Activities, &body);
    match tokio::time::timeout(PUBLISH_TIMEOUT, publishing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(PageError::Unavailable("The queue did not confirm in time".into())),
    }
    // Counted as a gateway counts it: best effort.
    let counts = [(webhook.id, Counts { accepted: 1, ..Counts::default() })];
    let _ = dashboard.administration.record(now, &counts, &[]).await;
    Ok(redirect(&format!("/webhooks/{}?sent={id}", webhook.id)))
}

/// `POST /webhooks/{id}/rename`
pub async fn rename(dashboard: Shared, id: web::Path<String>, form: SignedForm) -> Answer {
    form.viewer.must_manage()?;
    let webhook = find(&dashboard, &form.viewer, &id).await?;
    let name = form.fields.name("name", "A webhook")?;
    dashboard.administration.rename_webhook(webhook.id, &name).await?;
    Ok(redirect(&format!("/webhooks/{}?done=renamed", webhook.id)))
}

/// `POST /webhooks/{id}/rotate`
pub async fn rotate(dashboard: Shared, id: web::Path<String>, form: SignedForm) -> Answer {
    form.viewer.must_manage()?;
    let webhook = find(&dashboard, &form.viewer, &id).await?;
    let grace = form.fields.get("grace").and_then(|seconds| seconds.parse::<u64>().ok());
    let grace = grace.filter(|seconds| (0..=GRACE_SECONDS_MAX).contains(seconds));
    let grace = grace.ok_or(PageError::NotFound)?;
    let since = form.fields.get("revision").and_then(|text| text.parse().ok());
    let since = since.ok_or(PageError::Forged)?;
    let token = NewToken::for_public_id(webhook.public_id);
    let until = Timestamp::now() + Duration::from_secs(grace);
    let admin = &dashboard.administration;
    let webhook = admin.rotate_webhook(webhook.id, since, token.presented, until).await?;
    Ok(new_url(&dashboard, &form.viewer, &webhook, &token, "has a new URL"))
}

/// `POST /webhooks/{id}/revoke`
pub async fn revoke(dashboard: Shared, id: web::Path<String>, form: SignedForm) -> Answer {
    form.viewer.must_manage()?;
    let webhook = find(&dashboard, &form.viewer, &id).await?;
    dashboard.administration.revoke_webhook(webhook.id).await?;
    Ok(redirect(&format!("/webhooks/{}?done=revoked", webhook.id)))
}
