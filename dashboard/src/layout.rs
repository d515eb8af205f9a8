//! The frame of every page, and parts shared by several pages.

use actix_web::HttpResponse;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use trailpad_common::timestamp::Timestamp;

use crate::assets;
use crate::fields::Fields;
use crate::session::Viewer;

/// Tab of the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Activities,
    DeadLetters,
    General,
    Members,
    Projects,
    Integrations,
    Account,
}

impl Tab {
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

/// A page for a signed-in member.
pub fn page(viewer: &Viewer, tab: Tab, title: &str, body: &Markup) -> HttpResponse {
    let in_settings = Tab::SETTINGS.contains(&tab);
    let markup = document(
        title,
        &html! {
            header.top {
                a.brand href="/activities" { (logo()) "Trailpad" }
                nav aria-label="Main" {
                    (link(Tab::Activities, tab == Tab::Activities))
                    @if viewer.manages() { (link(Tab::DeadLetters, tab == Tab::DeadLetters)) }
                    a href=(Tab::General.path()) aria-current=[in_settings.then_some("page")] {
                        "Workspace Settings"
                    }
                }
                div.who {
                    a href=(Tab::Account.path()) aria-current=[(tab == Tab::Account).then_some("page")]
                        title=(viewer.identity.role.as_str()) { (viewer.identity.email) }
                    form method="post" action="/sign-out" {
                        (csrf(viewer))
                        button.quiet { "Sign out" }
                    }
                }
            }
            main id="main" {
                p.workspace { (viewer.identity.workspace) }
                @if in_settings {
                    h1 { "Workspace Settings" }
                    nav.tabs aria-label="Workspace Settings" {
                        @for setting in Tab::SETTINGS { (link(setting, setting == tab)) }
                    }
                }
                (body)
            }
        },
    );
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(markup.0)
}

/// A page without navigation, for visitors who are not signed in and for errors.
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

fn link(tab: Tab, is_current: bool) -> Markup {
    html! { a href=(tab.path()) aria-current=[is_current.then_some("page")] { (tab.name()) } }
}

fn logo() -> PreEscaped<&'static str> {
    PreEscaped(
        r#"<svg aria-hidden="true" viewBox="0 0 24 24" width="20" height="20"><path d="M4 19c5 0 3-7 8-7s3-7 8-7" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"/><circle cx="4" cy="19" r="2.5" fill="currentColor"/><circle cx="20" cy="5" r="2.5" fill="currentColor"/></svg>"#,
    )
}

/// The CSRF field that every form of a viewer needs.
pub fn csrf(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="csrf" value=(viewer.csrf); }
}

/// A timestamp in UTC. The script shows it in the browser's time zone; the exact one appears on hover.
pub fn time(at: Timestamp) -> Markup {
    let utc = at.to_datetime();
    html! {
        time datetime=(at) title=(at) { (utc.format("%Y-%m-%d %H:%M:%S UTC")) }
    }
}

/// A message that an action succeeded.
pub fn notice(text: &str) -> Markup {
    html! { p.notice role="status" { (text) } }
}

/// The notice of `?done=…` after a redirect. Unknown values are ignored.
pub fn flash(fields: &Fields) -> Markup {
    let sentence = match fields.get("done") {
        Some("renamed") => "The new name is saved.",
        Some("created") => "Project created.",
        Some("role") => "The role is changed. It takes effect on their next request.",
        Some("removed") => "The member is removed, and signed out everywhere.",
        Some("revoked") => "The webhook is revoked: it takes no more activities.",
        _ => return html! {},
    };
    notice(sentence)
}

/// Text in place of an empty list, with the next step for the reader.
pub fn empty(title: &str, next_step: &Markup) -> Markup {
    html! { div.empty { p.strong { (title) } p { (next_step) } } }
}

/// Rows of a list without paging, and options of a select field.
const ROWS_MAX: usize = 500;

/// At most [`ROWS_MAX`] rows.
pub fn first_rows<T>(list: &[T]) -> &[T] {
    &list[..list.len().min(ROWS_MAX)]
}

/// At most [`ROWS_MAX`] options, plus the chosen one if it comes later.
pub fn first_options<T>(list: &[T], is_chosen: impl Fn(&T) -> bool) -> Vec<&T> {
    let kept = |(at, option): &(usize, &T)| *at < ROWS_MAX || is_chosen(option);
    list.iter().enumerate().filter(kept).map(|(_, option)| option).collect()
}

/// A warning if the list is longer than [`ROWS_MAX`]. `command` shows all of it.
pub fn truncation_warning<T>(list: &[T], command: &str) -> Markup {
    html! {
        @if list.len() > ROWS_MAX {
            p.warning {
                "Only " (grouped(ROWS_MAX as u64)) " of " (grouped(list.len() as u64)) " are shown; "
                code { (command) } " shows all."
            }
        }
    }
}

/// A count with its noun in the singular or plural.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{} {many}", grouped(count)),
    }
}

/// Counting stops at this number: more would cost the store more than it helps a reader. One above
/// the largest number shown, so that a page knows whether more exist.
pub const COUNT_MAX: u32 = 10_001;

/// Formats a count that stopped at [`COUNT_MAX`].
pub fn at_most(count: u64) -> String {
    if count < u64::from(COUNT_MAX) {
        grouped(count)
    } else {
        format!("{}+", grouped(u64::from(COUNT_MAX) - 1))
    }
}

/// Formats with a comma between thousands.
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
