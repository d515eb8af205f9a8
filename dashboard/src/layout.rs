//! The frame of every page, and the parts that many pages have.

use actix_web::HttpResponse;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use trailpad_common::timestamp::Timestamp;

use crate::assets;
use crate::fields::Fields;
use crate::session::Viewer;

/// Where in the navigation a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Activities,
    DeadLetters,
    General,
    Members,
    Projects,
    Integrations,
    Account,
}

impl Place {
    const SETTINGS: [Self; 4] = [Self::General, Self::Members, Self::Projects, Self::Integrations];

    fn path(self) -> &'static str {
        match self {
            Self::Activities => "/activities",
            Self::DeadLetters => "/dead-letters",
            Self::General => "/settings",
            Self::Members => "/settings/members",
            Self::Projects => "/settings/projects",
            Self::Integrations => "/settings/integrations",
            Self::Account => "/account",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Activities => "Activities",
            Self::DeadLetters => "Dead letters",
            Self::General => "General",
            Self::Members => "Members",
            Self::Projects => "Projects",
            Self::Integrations => "Integrations",
            Self::Account => "Account",
        }
    }
}

/// A page of a member who is signed in.
pub fn page(viewer: &Viewer, place: Place, title: &str, body: &Markup) -> HttpResponse {
    let in_settings = Place::SETTINGS.contains(&place);
    let markup = document(
        title,
        &html! {
            header.top {
                a.brand href="/activities" { (logo()) "Trailpad" }
                nav aria-label="Main" {
                    (link(Place::Activities, place == Place::Activities))
                    @if viewer.manages() { (link(Place::DeadLetters, place == Place::DeadLetters)) }
                    a href=(Place::General.path()) aria-current=[in_settings.then_some("page")] {
                        "Workspace Settings"
                    }
                }
                div.who {
                    a href=(Place::Account.path()) aria-current=[(place == Place::Account).then_some("page")]
                        title=(viewer.person.role.as_str()) { (viewer.person.email) }
                    form method="post" action="/sign-out" {
                        (csrf(viewer))
                        button.quiet { "Sign out" }
                    }
                }
            }
            main id="main" {
                p.workspace { (viewer.person.workspace) }
                @if in_settings {
                    h1 { "Workspace Settings" }
                    nav.tabs aria-label="Workspace Settings" {
                        @for tab in Place::SETTINGS { (link(tab, tab == place)) }
                    }
                }
                (body)
            }
        },
    );
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(markup.0)
}

/// A page of somebody who is not signed in.
pub fn plain(title: &str, body: &Markup) -> Markup {
    document(
        title,
        &html! {
            main.plain id="main" {
                p.brand { (logo()) "Trailpad" }
                (body)
            }
        },
    )
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) " · Trailpad" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(assets::path("icon.svg"));
                link rel="stylesheet" href=(assets::path("style.css"));
                script src=(assets::path("app.js")) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    }
}

fn link(place: Place, is_here: bool) -> Markup {
    html! { a href=(place.path()) aria-current=[is_here.then_some("page")] { (place.name()) } }
}

fn logo() -> PreEscaped<&'static str> {
    PreEscaped(
        r#"<svg aria-hidden="true" viewBox="0 0 24 24" width="20" height="20"><path d="M4 19c5 0 3-7 8-7s3-7 8-7" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"/><circle cx="4" cy="19" r="2.5" fill="currentColor"/><circle cx="20" cy="5" r="2.5" fill="currentColor"/></svg>"#,
    )
}

/// What every form of a viewer has.
pub fn csrf(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="csrf" value=(viewer.csrf); }
}

/// An instant; the browser shows it in its own zone, and the exact one on hover.
pub fn time(at: Timestamp) -> Markup {
    let utc = at.to_datetime();
    html! {
        time datetime=(at) title=(at) { (utc.format("%Y-%m-%d %H:%M:%S UTC")) }
    }
}

/// A sentence that something was done.
pub fn notice(text: &str) -> Markup {
    html! { p.notice role="status" { (text) } }
}

/// What was done, as `?done=…` says it; anything else is nothing of ours.
pub fn done(fields: &Fields) -> Markup {
    let sentence = match fields.get("done") {
        Some("renamed") => "The new name is saved.",
        Some("created") => "The project is there.",
        Some("role") => "The role is changed. It holds from the next click on.",
        Some("removed") => "The member is removed, and signed out everywhere.",
        Some("revoked") => "The webhook is revoked: it takes no more activities.",
        _ => return html! {},
    };
    notice(sentence)
}

/// What an empty list says: what to do next.
pub fn empty(title: &str, what_next: &Markup) -> Markup {
    html! { div.empty { p.strong { (title) } p { (what_next) } } }
}

/// Rows of a list without pages, and choices of a field.
const ROWS_MAX: usize = 500;

/// As much of a list as a page shows.
pub fn shown<T>(list: &[T]) -> &[T] {
    &list[..list.len().min(ROWS_MAX)]
}

/// As many choices as a field has, and the one that is chosen.
pub fn choices<T>(list: &[T], is_chosen: impl Fn(&T) -> bool) -> Vec<&T> {
    let kept = |(at, choice): &(usize, &T)| *at < ROWS_MAX || is_chosen(choice);
    list.iter().enumerate().filter(kept).map(|(_, choice)| choice).collect()
}

/// Says so where a list is longer than what is shown of it.
pub fn not_all_shown<T>(list: &[T], command: &str) -> Markup {
    html! {
        @if list.len() > ROWS_MAX {
            p.warning {
                "Only " (grouped(ROWS_MAX as u64)) " of " (grouped(list.len() as u64)) " are shown; "
                code { (command) } " shows all."
            }
        }
    }
}

/// A counted noun.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{} {many}", grouped(count)),
    }
}

/// How far a page counts: more costs the store more than it tells anybody. By one further than is
/// shown, to know whether there are more.
pub const COUNT_MAX: u32 = 10_001;

/// A count that went no further than [`COUNT_MAX`].
pub fn at_most(count: u64) -> String {
    match count < u64::from(COUNT_MAX) {
        true => grouped(count),
        false => format!("{}+", grouped(u64::from(COUNT_MAX) - 1)),
    }
}

/// With a comma between thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(2_000, "row", "rows"), "2,000 rows");
        assert_eq!([at_most(10_000), at_most(10_001)], ["10,000", "10,000+"]);
    }
}
