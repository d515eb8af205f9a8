//! The session of a request, the rights of its member, and the forms it sends.

use std::time::Duration;

use std::future::Future;
use std::pin::Pin;

use actix_web::body::{BodyStream, to_bytes_limited};
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use trailpad_common::admin::{Identity, Role};
use trailpad_common::id::WorkspaceId;
use trailpad_common::secret::SecretHash;

use crate::error::PageError;
use crate::fields::Fields;
use crate::return_to::sign_in_path;
use crate::security::is_same_origin;
use crate::state::Dashboard;

const COOKIE: &str = "trailpad_session";
/// A session ends a week after it began.
pub const SESSION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const FORM_BYTES_MAX: usize = 256 * 1_024;

/// A signed-in member.
pub struct Viewer {
    pub identity: Identity,
    pub session: SecretHash,
    /// The CSRF token that the viewer's forms must contain.
    pub csrf: String,
}

/// A form of a signed-in viewer, with a valid CSRF token.
pub struct SignedForm {
    pub viewer: Viewer,
    pub fields: Fields,
}

/// A form that needs no session.
pub struct AnonymousForm(pub Fields);

impl Viewer {
    /// `true` if the role allows changing the workspace.
    pub fn manages(&self) -> bool {
        matches!(self.identity.role, Role::Owner | Role::Admin)
    }

    /// # Errors
    /// `Forbidden` unless the viewer [manages](Self::manages) the workspace.
    pub fn must_manage(&self) -> Result<(), PageError> {
        if self.manages() { Ok(()) } else { Err(PageError::Forbidden) }
    }

    /// The workspace that everything shown must belong to.
    pub fn workspace(&self) -> WorkspaceId {
        self.identity.workspace_id
    }
}

pub fn cookie(secret: &str, dashboard_url: &str) -> Cookie<'static> {
    Cookie::build(COOKIE, secret.to_owned())
        .path("/")
        .http_only(true)
        // `Lax`: a link in a chat still opens its page, but a form of another site sends no cookie.
        .same_site(SameSite::Lax)
        .secure(dashboard_url.starts_with("https://"))
        .max_age(SESSION.try_into().unwrap_or_default())
        .finish()
}

/// Removes the session cookie from the browser.
pub fn removal_cookie() -> Cookie<'static> {
    let mut cookie = Cookie::build(COOKIE, "").path("/").http_only(true).finish();
    cookie.make_removal();
    cookie
}

fn csrf_of(secret: &str) -> String {
    let hash = SecretHash::of(&format!("csrf {secret}"));
    hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn viewer(request: HttpRequest) -> Result<Viewer, PageError> {
    let dashboard = request
        .app_data::<web::Data<Dashboard>>()
        .ok_or(PageError::Internal("the server has no dashboard"))?;
    let signed_out = || PageError::SignedOut(sign_in_path(&request));
    let cookie = request.cookie(COOKIE).ok_or_else(signed_out)?;
    let session = SecretHash::of(cookie.value());
    let identity = dashboard.administration.session(session).await?;
    let identity = identity.ok_or_else(signed_out)?;
    Ok(Viewer { identity, session, csrf: csrf_of(cookie.value()) })
}

async fn fields(request: HttpRequest, payload: Payload) -> Result<Fields, PageError> {
    if !is_same_origin(&request) {
        return Err(PageError::Forged);
    }
    match to_bytes_limited(BodyStream::new(payload), FORM_BYTES_MAX).await {
        Ok(Ok(body)) => Ok(Fields::parse(&body)),
        Ok(Err(_)) => Err(PageError::Rejected(
            "The form did not arrive whole: go back and send it again".into(),
        )),
        Err(_) => Err(PageError::TooLarge),
    }
}

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, PageError>>>>;

impl FromRequest for Viewer {
    type Error = PageError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(viewer(request.clone()))
    }
}

impl FromRequest for SignedForm {
    type Error = PageError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let viewer = viewer(request.clone()).await?;
            let fields = fields(request, payload).await?;
            // Compares hashes in constant time, so that the duration reveals nothing.
            if !SecretHash::of(fields.raw("csrf")).matches(&SecretHash::of(&viewer.csrf)) {
                return Err(PageError::Forged);
            }
            Ok(Self { viewer, fields })
        })
    }
}

impl FromRequest for AnonymousForm {
    type Error = PageError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move { Ok(Self(fields(request, payload).await?)) })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::*;

    async fn read(parts: Vec<Result<Bytes, PayloadError>>) -> Result<Fields, PageError> {
        let payload = Payload::Stream { payload: stream::iter(parts).boxed_local() };
        fields(TestRequest::default().to_http_request(), payload).await
    }

    #[tokio::test]
    async fn a_form_is_read_up_to_its_limit_and_a_truncated_one_is_not_called_too_large() {
        let of_bytes = |count: usize| Ok(Bytes::from(format!("a={}", "x".repeat(count - 2))));
        let whole = read(vec![of_bytes(FORM_BYTES_MAX)]).await.expect("the form should be read");
        assert_eq!(whole.raw("a").len(), FORM_BYTES_MAX - 2);
        let halves = vec![of_bytes(FORM_BYTES_MAX / 2 + 1), of_bytes(FORM_BYTES_MAX / 2)];
        assert_eq!(
            read(halves).await.expect_err("the form should be rejected"),
            PageError::TooLarge
        );
        let truncated = read(vec![of_bytes(9), Err(PayloadError::Incomplete(None))]).await;
        let error = truncated.expect_err("the form should be rejected").to_string();
        assert!(error.contains("did not arrive whole"), "{error}");
    }
}
