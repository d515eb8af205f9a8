//! Values of commands. Each fault is an `Error::Config`, which names the value and how to fix it.

use std::time::Duration;

use trailpad_common::email::Email;
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::timestamp::Timestamp;

use crate::error::Error;

const NAME_CHARS_MAX: usize = 200;

pub fn email(text: &str) -> Result<Email, Error> {
    Email::parse(text).map_err(|error| invalid(format!("{text:?} is {error}")))
}

pub fn nonblank<'t>(flag: &str, text: &'t str) -> Result<&'t str, Error> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
        return Err(invalid(format!("--{flag} must have 1 to {NAME_CHARS_MAX} characters")));
    }
    Ok(text)
}

pub fn webhook_id(text: &str) -> Result<WebhookId, Error> {
    let hint = "is not a webhook id: `trailpad webhook list` shows the ids";
    text.parse().map_err(|_| invalid(format!("{text:?} {hint}")))
}

pub fn dead_letter_id(text: &str) -> Result<ActivityId, Error> {
    let hint = "is not a dead letter's id: `trailpad dead-letter list` shows the ids";
    text.parse().map_err(|_| invalid(format!("{text:?} {hint}")))
}

pub fn activity_id(text: &str) -> Result<ActivityId, Error> {
    let hint = "is not an activity's id: `trailpad retry list` shows the ids";
    text.parse().map_err(|_| invalid(format!("{text:?} {hint}")))
}

pub fn duration(flag: &str, text: &str) -> Result<Duration, Error> {
    humantime::parse_duration(text)
        .map_err(|_| invalid(format!("--{flag} must be a time such as 30m, not {text:?}")))
}

pub fn invalid(fault: String) -> Error {
    Error::Config(vec![fault])
}

/// Returns the cut-off of an `--…older-than` flag: now minus `age`.
pub fn cutoff(flag: &str, age: Option<&str>) -> Result<Option<Timestamp>, Error> {
    let age = age.map(|age| duration(flag, age)).transpose()?;
    Ok(age.map(|age| Timestamp::now() - age))
}
