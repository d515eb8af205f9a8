//! The output of commands: JSON for programs, aligned columns and sentences for people.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use trailpad_common::admin::{
    Member, Project, StoredActivity, StoredDeadLetter, StoredRetry, Webhook, Workspace,
};
use trailpad_common::email::Email;
use trailpad_common::id::{ActivityId, ProjectId, WebhookId};
use trailpad_common::timestamp::Timestamp;

use crate::args::StoreArgs;
use crate::hint::command;

/// A record as JSON and as the cells of a table row.
pub struct Shown {
    json: String,
    cells: Vec<(&'static str, String)>,
    /// A sentence below a single record.
    hint: Option<String>,
}

impl Shown {
    pub fn workspace(workspace: &Workspace, owner: &Member) -> Self {
        let json = json!({
            "id": workspace.id, "name": workspace.name, "owner": owner.email.as_str(),
            "createdAt": timestamp(workspace.created_at),
        });
        let cells = vec![
            ("WORKSPACE", workspace.name.clone()),
            ("OWNER", owner.email.to_string()),
            ("ID", workspace.id.to_string()),
        ];
        let hint =
            format!("Next: trailpad project create --workspace {:?} --name …", workspace.name);
        Self { hint: Some(hint), ..Self::new(&json, cells) }
    }

    pub fn member(member: &Member) -> Self {
        let json = json!({
            "id": member.id, "email": member.email.as_str(), "role": member.role.as_str(),
            "createdAt": timestamp(member.created_at),
        });
        let cells = vec![
            ("EMAIL", member.email.to_string()),
            ("ROLE", member.role.as_str().to_owned()),
            ("SINCE", short(member.created_at)),
            ("ID", member.id.to_string()),
        ];
        Self::new(&json, cells)
    }

    /// No other command prints a sign-in link. The link can't be read back later.
    pub fn invitation(email: &Email, link: &str) -> Self {
        let json = json!({ "email": email.as_str(), "link": link });
        let cells = vec![("EMAIL", email.to_string()), ("LINK", link.to_owned())];
        Self::new(&json, cells)
    }

    pub fn project(project: &Project) -> Self {
        let json = json!({
            "id": project.id, "name": project.name, "createdAt": timestamp(project.created_at),
        });
        let cells = vec![
            ("PROJECT", project.name.clone()),
            ("SINCE", short(project.created_at)),
            ("ID", project.id.to_string()),
        ];
        Self::new(&json, cells)
    }

    pub fn webhook(webhook: &Webhook) -> Self {
        Self::new(&webhook_json(webhook), webhook_cells(webhook))
    }

    /// The URL holds the secret token.
    pub fn webhook_with_url(webhook: &Webhook, url: &str) -> Self {
        let mut json = webhook_json(webhook);
        json["url"] = json!(url);
        let mut shown = Self::new(&json, webhook_cells(webhook));
        shown.cells.retain(|(name, _)| !matches!(*name, "TOKEN" | "STATUS"));
        shown.hint = Some(format!(
            "{url}\n\nThe URL holds a secret token and is shown this once: treat it like a password.\nTry it:\n\n  curl -X POST {url} \\\n    -H 'Content-Type: application/json' \\\n    -d '{{\"title\": \"Hello Trailpad\", \"startTime\": \"{}\"}}'",
            short(Timestamp::now()).replace(' ', "T") + "Z"
        ));
        shown
    }

    pub fn activity(activity: &StoredActivity) -> Self {
        let json = ActivityJson {
            id: activity.id,
            webhook_id: activity.webhook_id,
            project_id: activity.project_id,
            title: &activity.title,
            description: activity.description.as_deref(),
            start_time: timestamp(activity.start_time),
            end_time: activity.end_time.map(timestamp),
            trigger: activity.trigger.as_deref(),
            event: activity.event.as_deref(),
            member_email: activity.member_email.as_str(),
            external_id: activity.external_id.as_deref(),
            metadata: activity.metadata.as_deref(),
            received_at: timestamp(activity.received_at),
            stored_at: timestamp(activity.stored_at),
        };
        let cells = vec![
            ("RECEIVED", short(activity.received_at)),
            ("TITLE", cut(&activity.title, 40)),
            ("MEMBER", activity.member_email.to_string()),
            ("EXTERNAL ID", cut(activity.external_id.as_deref().unwrap_or("–"), 24)),
            ("STARTED", short(activity.start_time)),
            ("ID", activity.id.to_string()),
        ];
        Self::new(&json, cells)
    }

    pub fn retry(retry: &StoredRetry) -> Self {
        let member = retry.member_email.as_ref().map(|email| email.as_str());
        let json = json!({
            "id": retry.id, "webhookId": retry.webhook_id, "memberEmail": member,
            "reason": retry.reason, "error": retry.error, "attempt": retry.attempt,
            "receivedAt": timestamp(retry.received_at), "dueAt": timestamp(retry.due_at),
        });
        let cells = vec![
            ("DUE", short(retry.due_at)),
            ("ATTEMPT", retry.attempt.to_string()),
            ("REASON", retry.reason.clone()),
            ("MEMBER", member.unwrap_or("–").to_owned()),
            ("ERROR", cut(&retry.error, 60)),
            ("ID", retry.id.to_string()),
        ];
        Self::new(&json, cells)
    }

    pub fn dead_letter(letter: &StoredDeadLetter) -> Self {
        let json = json!({
            "id": letter.id, "webhookId": letter.webhook_id, "externalId": letter.external_id,
            "memberEmail": letter.member_email.as_ref().map(|email| email.as_str()),
            "reason": letter.reason, "error": letter.error, "attempts": letter.attempts,
            "receivedAt": letter.received_at.map(timestamp), "deadAt": timestamp(letter.dead_at),
            "state": letter.state.as_str(),
        });
        let cells = vec![
            ("DEAD SINCE", short(letter.dead_at)),
            ("REASON", letter.reason.clone()),
            ("ATTEMPTS", letter.attempts.to_string()),
            ("STATE", letter.state.as_str().to_owned()),
            (
                "MEMBER",
                letter.member_email.as_ref().map_or("–".to_owned(), |email| email.to_string()),
            ),
            ("EXTERNAL ID", cut(letter.external_id.as_deref().unwrap_or("–"), 24)),
            ("ERROR", cut(&letter.error, 60)),
            ("ID", letter.id.to_string()),
        ];
        Self::new(&json, cells)
    }

    /// All fields, not truncated, and the commands for the next step.
    pub fn dead_letter_in_full(letter: &StoredDeadLetter, store: &StoreArgs) -> Self {
        let mut shown = Self::dead_letter(letter);
        shown.cells.retain(|(name, _)| !matches!(*name, "ERROR" | "EXTERNAL ID"));
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        shown.cells.extend([
            ("ERROR", letter.error.clone()),
            ("EXTERNAL ID", or_none(letter.external_id.clone())),
            ("WEBHOOK", or_none(letter.webhook_id.map(|id| id.to_string()))),
            ("RECEIVED", or_none(letter.received_at.map(short))),
            ("TRACE", or_none(letter.traceparent.clone())),
        ]);
        let payload = command(store, &format!("dead-letter show {} --payload", letter.id));
        let replay = command(store, &format!("dead-letter replay {}", letter.id));
        shown.with_hint(Some(format!("Its payload:  {payload}\nStore it:     {replay}")))
    }

    pub fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    fn new(json: &impl Serialize, cells: Vec<(&'static str, String)>) -> Self {
        Self { json: serde_json::to_string(json).unwrap_or_default(), cells, hint: None }
    }
}

/// An activity with the field names of the HTTP contract. A struct and not a `Value`, because its
/// metadata must stay byte for byte as it was sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActivityJson<'a> {
    id: ActivityId,
    webhook_id: WebhookId,
    project_id: ProjectId,
    title: &'a str,
    description: Option<&'a str>,
    start_time: String,
    end_time: Option<String>,
    trigger: Option<&'a str>,
    event: Option<&'a str>,
    member_email: &'a str,
    external_id: Option<&'a str>,
    metadata: Option<&'a RawValue>,
    received_at: String,
    stored_at: String,
}

fn webhook_json(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id, "name": webhook.name, "workspace": webhook.workspace,
        "project": webhook.project, "creator": webhook.creator.as_str(),
        "publicId": webhook.public_id.as_str(), "createdAt": timestamp(webhook.created_at),
        "revokedAt": webhook.revoked_at.map(timestamp),
    })
}

fn webhook_cells(webhook: &Webhook) -> Vec<(&'static str, String)> {
    vec![
        ("WEBHOOK", webhook.name.clone()),
        ("WORKSPACE", webhook.workspace.clone()),
        ("PROJECT", webhook.project.clone()),
        ("CREATOR", webhook.creator.to_string()),
        ("STATUS", if webhook.revoked_at.is_some() { "revoked" } else { "active" }.to_owned()),
        ("TOKEN", format!("tpw_{}_…", webhook.public_id)),
        ("ID", webhook.id.to_string()),
    ]
}

/// Prints a single record.
pub fn one(json: bool, shown: Shown) {
    if json {
        return print(&format!("{}\n", shown.json));
    }
    let width = shown.cells.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = shown
        .cells
        .iter()
        .map(|(name, value)| format!("{:width$}  {}\n", title_case(name), clean(value)))
        .collect();
    let hint = shown.hint.map(|hint| format!("\n{hint}\n")).unwrap_or_default();
    print(&format!("{}{hint}", lines.concat()));
}

/// A progress bar; visible only on a terminal.
pub fn progress(verb: &'static str, count: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {prefix}  [{bar:30}] {pos} of {len}  {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(count).with_style(style).with_prefix(verb)
}

/// A progress bar of bytes; visible only on a terminal.
pub fn progress_of_bytes(verb: &'static str, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{spinner} {prefix}  [{bar:30}] {bytes} of {total_bytes}  {eta} left",
    );
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style).with_prefix(verb)
}

/// A size for people, in MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Prints a result: `value` as JSON, or `sentence`.
pub fn sentence(json: bool, value: &Value, sentence: &str) {
    if json {
        return print(&format!("{value}\n"));
    }
    print(&format!("{sentence}\n"));
}

/// Prints a list, or the hint `empty` if it has no items.
pub fn many(json: bool, shown: impl Iterator<Item = Shown>, empty: &str) {
    let shown: Vec<Shown> = shown.collect();
    if json {
        let items: Vec<String> = shown.into_iter().map(|shown| shown.json).collect();
        return print(&format!("[{}]\n", items.join(",\n ")));
    }
    let Some(first) = shown.first() else { return print(&format!("{empty}\n")) };
    let header: Vec<String> = first.cells.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rows =
        shown.iter().map(|shown| shown.cells.iter().map(|(_, value)| clean(value)).collect());
    let table: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width =
        |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..first.cells.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    print(&table.iter().map(line).collect::<String>());
}

/// Ignores write errors: a reader such as `head` may close its end early.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Replaces control characters: a sender's text must not move the cursor of a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

fn title_case(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut chars = lower.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn timestamp(at: Timestamp) -> String {
    at.to_string()
}

fn short(at: Timestamp) -> String {
    at.to_datetime().format("%Y-%m-%d %H:%M:%S").to_string()
}
