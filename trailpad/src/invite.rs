//! One-time links to the dashboard.

use trailpad_common::admin::{AdminError, SignIn};
use trailpad_common::email::Email;
use trailpad_common::instant::Instant;
use trailpad_common::secret::NewSecret;

/// A link is valid for three days.
const VALID_MICROS: i64 = 3 * 24 * 60 * 60 * 1_000_000;

/// Makes a link that signs a member in, once; earlier links of theirs stop working.
pub async fn invite(
    sign_in: &dyn SignIn,
    workspace: &str,
    email: &Email,
    dashboard_url: &str,
) -> Result<String, AdminError> {
    let secret = NewSecret::generate();
    let valid_until = Instant::from_unix_micros(Instant::now().unix_micros() + VALID_MICROS);
    sign_in.invite(workspace, email, secret.hash, valid_until).await?;
    Ok(format!("{}/invite/{}", dashboard_url.trim_end_matches('/'), secret.reveal()))
}
