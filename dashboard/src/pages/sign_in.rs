//! Signing in and out: by password, or by a one-time link.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use trailpad_common::admin::Identity;
use trailpad_common::email::Email;
use trailpad_common::id::MemberId;
use trailpad_common::secret::NewSecret;
use trailpad_common::secret::SecretHash;
use trailpad_common::timestamp::Timestamp;

use super::redirect;
use crate::client;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::plain;
use crate::password;
use crate::return_to::local;
use crate::session::{AnonymousForm, SESSION, SignedForm, cookie, removal_cookie};
use crate::state::Dashboard;

/// `GET /sign-in`
pub async fn form(request: HttpRequest) -> HttpResponse {
    let fields = Fields::parse(request.query_string().as_bytes());
    html_page(plain("Sign in", &sign_in_form(None, local(fields.raw("next")))))
}

/// `POST /sign-in`
pub async fn sign_in(
    dashboard: web::Data<Dashboard>,
    request: HttpRequest,
    AnonymousForm(fields): AnonymousForm,
) -> Result<HttpResponse, PageError> {
    let email = fields.email("email")?;
    let next = local(fields.raw("next"));
    let password = fields.raw("password");
    let Some(member) = member_of(&dashboard, &request, &email, password, None).await? else {
        let page = plain("Sign in", &sign_in_form(Some(email.as_str()), next));
        return Ok(HttpResponse::UnprocessableEntity()
            .content_type("text/html; charset=utf-8")
            .body(page.0));
    };
    let secret = NewSecret::generate();
    let until = Timestamp::now() + SESSION;
    dashboard.administration.begin_session(member, secret.hash, until).await?;
    Ok(signed_in(&dashboard, &secret, next))
}

/// Returns the member with this address and password. Several memberships may match: the oldest wins,
/// unless `only` selects one. A wrong password uses up an attempt.
///
/// # Errors
/// Too many attempts, or the store is unavailable.
pub async fn member_of(
    dashboard: &Dashboard,
    request: &HttpRequest,
    email: &Email,
    password: &str,
    only: Option<MemberId>,
) -> Result<Option<MemberId>, PageError> {
    let from = client::address(request, dashboard.client_address_header.as_ref());
    let Some(attempt) = dashboard.throttle.reserve(email, from) else {
        tracing::warn!("sign-in is throttled");
        return Err(PageError::TooManyAttempts);
    };
    let find = async {
        let known = dashboard.administration.passwords(email).await?;
        let known = known.into_iter().filter(|(id, _)| only.is_none_or(|only| only == *id));
        let (members, hashes): (Vec<_>, Vec<_>) = known.unzip();
        let matched = password::first_match(password.to_owned(), hashes).await?;
        Ok(matched.and_then(|at| members.get(at).copied()))
    };
    let found = find.await;
    if !matches!(found, Ok(None)) {
        dashboard.throttle.refund(attempt);
    }
    found
}

/// `POST /sign-out`
pub async fn sign_out(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    dashboard.administration.end_session(form.viewer.session).await?;
    let mut response = redirect("/sign-in");
    response
        .add_cookie(&removal_cookie())
        .map_err(|_| PageError::Internal("a cookie could not be set"))?;
    Ok(response)
}

/// `GET /invite/{link}`: shows the member that the link signs in. Does not consume the link, so mail
/// scanners and previews can fetch it.
pub async fn invitation(
    dashboard: web::Data<Dashboard>,
    link: web::Path<String>,
) -> Result<HttpResponse, PageError> {
    let invited = dashboard.administration.invited(SecretHash::of(&link)).await?;
    Ok(html_page(match invited {
        Some(identity) => plain("Sign in", &invitation_form(&identity)),
        None => plain("The link is used up", &used_up()),
    }))
}

/// `POST /invite/{link}`
pub async fn accept(
    dashboard: web::Data<Dashboard>,
    link: web::Path<String>,
    _: AnonymousForm,
) -> Result<HttpResponse, PageError> {
    let secret = NewSecret::generate();
    let until = Timestamp::now() + SESSION;
    let sign_in = &dashboard.administration;
    if sign_in.use_invitation(SecretHash::of(&link), secret.hash, until).await? {
        return Ok(signed_in(&dashboard, &secret, local("")));
    }
    Ok(html_page(plain("The link is used up", &used_up())))
}

fn signed_in(dashboard: &Dashboard, secret: &NewSecret, next: &str) -> HttpResponse {
    let mut response = redirect(next);
    // Fails only for a value that is not valid in a header.
    let _ = response.add_cookie(&cookie(secret.reveal(), &dashboard.dashboard_url));
    response
}

fn html_page(markup: Markup) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(markup.0)
}

fn sign_in_form(failed_for: Option<&str>, next: &str) -> Markup {
    html! {
        h1 { "Sign in" }
        @if failed_for.is_some() {
            p.fault role="alert" { "Wrong e-mail address or password." }
        }
        form.stack method="post" action="/sign-in" {
            input type="hidden" name="next" value=(next);
            label { "E-mail address"
                input type="email" name="email" autocomplete="username" required value=[failed_for];
            }
            label { "Password"
                input type="password" name="password" autocomplete="current-password" required;
            }
            button { "Sign in" }
        }
        p.soft.small {
            "No password yet, or forgotten? An admin of your workspace makes a one-time link under "
            "Workspace Settings › Members, and so does "
            code { "trailpad member invite" } "."
        }
    }
}

fn invitation_form(identity: &Identity) -> Markup {
    html! {
        h1 { "Welcome to " (identity.workspace) }
        p { "This link signs you in as " strong { (identity.email) } ", once." }
        form method="post" { button { "Sign in" } }
    }
}

fn used_up() -> Markup {
    html! {
        h1 { "This link is used up" }
        p { "A link signs in once, and for three days. Ask an admin of your workspace for another one, or:" }
        p { a.button href="/sign-in" { "Sign in with your password" } }
    }
}
