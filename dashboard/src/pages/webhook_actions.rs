//! What can be done with a webhook: a test activity, another name, another token, its end.

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
use crate::state::{Dashboard, PUBLISH_TIMEOUT, seconds_from_now};

const GRACE_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

type Shared = web::Data<Dashboard>;
type Answer = Result<HttpResponse, PageError>;

/// `POST /webhooks/{id}/test`: an activity through the queue, as any other.
pub async fn test(dashboard: Shared, id: web::Path<String>, post: SignedForm) -> Answer {
    post.viewer.must_manage()?;
    let webhook = find(&dashboard, &post.viewer, &id).await?;
    if webhook.revoked_at.is_some() {
        return Err(PageError::Refused(
            "The webhook is revoked: it takes no more activities".into(),
        ));
    }
    let (id, now) = (ActivityId::received_at(Timestamp::now()), Timestamp::now());
    let activity = serde_json::json!({
        "title": "Test activity",
        "description": format!("Sent from the dashboard by {}.", post.viewer.person.email),
        "startTime": now.to_string(),
        "trigger": "Send test activity",
        "memberEmail": post.viewer.person.email.as_str(),
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
        Err(_) => return Err(PageError::Away("The queue did not confirm in time".into())),
    }
    // As a gateway would count it; like there, best effort.
    let counts = [(webhook.id, Counts { accepted: 1, ..Counts::default() })];
    let _ = dashboard.stores.traffic.record(now, &counts, &[]).await;
    Ok(redirect(&format!("/webhooks/{}?sent={id}", webhook.id)))
}

/// `POST /webhooks/{id}/rename`
pub async fn rename(dashboard: Shared, id: web::Path<String>, post: SignedForm) -> Answer {
    post.viewer.must_manage()?;
    let webhook = find(&dashboard, &post.viewer, &id).await?;
    let name = post.fields.name("name", "A webhook")?;
    dashboard.stores.admin.rename_webhook(webhook.id, &name).await?;
    Ok(redirect(&format!("/webhooks/{}?done=renamed", webhook.id)))
}

/// `POST /webhooks/{id}/rotate`
pub async fn rotate(dashboard: Shared, id: web::Path<String>, post: SignedForm) -> Answer {
    post.viewer.must_manage()?;
    let webhook = find(&dashboard, &post.viewer, &id).await?;
    let grace = post.fields.get("grace").and_then(|seconds| seconds.parse::<i64>().ok());
    let grace = grace.filter(|seconds| (0..=GRACE_SECONDS_MAX).contains(seconds));
    let grace = grace.ok_or(PageError::NotFound)?;
    let since = post.fields.get("revision").and_then(|text| text.parse().ok());
    let since = since.ok_or(PageError::Forged)?;
    let token = NewToken::for_public_id(webhook.public_id);
    let until = seconds_from_now(grace);
    let admin = &dashboard.stores.admin;
    let webhook = admin.rotate_webhook(webhook.id, since, token.presented, until).await?;
    Ok(new_url(&dashboard, &post.viewer, &webhook, &token, "has a new URL"))
}

/// `POST /webhooks/{id}/revoke`
pub async fn revoke(dashboard: Shared, id: web::Path<String>, post: SignedForm) -> Answer {
    post.viewer.must_manage()?;
    let webhook = find(&dashboard, &post.viewer, &id).await?;
    dashboard.stores.admin.revoke_webhook(webhook.id).await?;
    Ok(redirect(&format!("/webhooks/{}?done=revoked", webhook.id)))
}
