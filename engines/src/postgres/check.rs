//! Checks a database before a role uses it.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use trailpad_common::check::{CheckError, StoreUser};
use trailpad_common::failure::Unavailable;

use super::connect::{Config, with_timeout};
use super::encoding::check_encoding;
use super::error::unavailable;
use super::migrate::{HISTORY, schema_version};

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// A relation is `NULL` if it does not exist or its schema may not be used.
const HISTORY_RIGHT: &str = "SELECT has_table_privilege(to_regclass($1), 'SELECT') AS may_read";

const RIGHTS: &str = "
SELECT given.name, given.\"right\"
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given(name, \"right\", ordinal)
WHERE has_table_privilege(to_regclass(given.name), given.\"right\") IS NOT TRUE
ORDER BY given.ordinal
";

const READ: &[&str] = &["SELECT"];
const APPEND: &[&str] = &["SELECT", "INSERT"];
const CHANGE: &[&str] = &["SELECT", "INSERT", "UPDATE"];
const REPLACE: &[&str] = &["SELECT", "INSERT", "DELETE"];
const ALL: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];

/// The tables of a role and its rights on them, as its statements need them.
fn rights(user: StoreUser) -> &'static [(&'static str, &'static [&'static str])] {
    match user {
        StoreUser::Gateway => &[
            ("directory_revision", READ),
            ("webhooks", READ),
            ("webhook_traffic", ALL),
            ("refused_requests", REPLACE),
        ],
        StoreUser::Worker => &[
            ("webhooks", READ),
            ("projects", READ),
            ("members", READ),
            ("activities", CHANGE),
            ("dead_letters", CHANGE),
            ("dead_letter_states", READ),
            ("retries", ALL),
            ("trials", ALL),
            ("webhook_traffic", ALL),
        ],
        StoreUser::Dashboard => &[
            ("workspaces", CHANGE),
            ("members", CHANGE),
            ("projects", CHANGE),
            ("directory_revision", &["SELECT", "UPDATE"]),
            ("webhooks", CHANGE),
            ("activities", READ),
            ("dead_letters", &["SELECT", "UPDATE"]),
            ("dead_letter_states", READ),
            ("dead_letter_actions", APPEND),
            ("retries", &["SELECT", "UPDATE"]),
            ("invitations", REPLACE),
            ("sessions", ALL),
            ("webhook_traffic", READ),
            ("refused_requests", READ),
        ],
    }
}

pub(super) async fn check(config: &Config, user: StoreUser) -> Result<(), CheckError> {
    let (client, _driver) = config.connect().await?;
    check_encoding(&client).await?;
    let history: &(dyn ToSql + Sync) = &HISTORY;
    let row = query(&client, HISTORY_RIGHT, &[(history, Type::TEXT)]).await?;
    match row.first().and_then(|row| row.get("may_read")) {
        None => return Err(CheckError::NoSchema),
        Some(false) => return Err(CheckError::MissingRights(vec![format!("SELECT on {HISTORY}")])),
        Some(true) => {}
    }
    let sql = format!("SELECT max(version) AS version FROM {HISTORY}");
    let row = query(&client, &sql, &[]).await?;
    let found = row.first().and_then(|row| row.get::<_, Option<i32>>("version")).unwrap_or(0);
    let wanted = schema_version();
    if found < wanted {
        return Err(CheckError::SchemaOlder { found, wanted });
    }
    let wanted = rights(user)
        .iter()
        .flat_map(|(table, rights)| rights.iter().map(move |right| (*table, *right)));
    let (tables, rights): (Vec<&str>, Vec<&str>) = wanted.unzip();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tables, Type::TEXT_ARRAY), (&rights, Type::TEXT_ARRAY)];
    let missing = query(&client, RIGHTS, &parameters).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let text =
        |row: &Row| format!("{} on {}", row.get::<_, &str>("right"), row.get::<_, &str>("name"));
    Err(CheckError::MissingRights(missing.iter().map(text).collect()))
}

async fn query(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Unavailable> {
    let rows = client.query_typed(sql, parameters);
    let rows = with_timeout(STATEMENT_TIMEOUT, client.cancel_token(), rows).await?;
    rows.map_err(|error| unavailable(&error))
}
