//! Classifies and describes errors of PostgreSQL.
//!
//! A server's message may quote a payload ("Failing row contains …"), so it is never passed on:
//! texts consist of the SQLSTATE and the names of tables, columns and constraints.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;
use trailpad_common::failure::Unavailable;

/// The cause of an error, according to its SQLSTATE (PostgreSQL, Appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A conflict with another transaction: retry immediately.
    Conflict,
    /// Surely the environment: the server is stopping, read-only, full or out of connections.
    Unavailable,
    /// The statement was cancelled, by its timeout or by a person.
    Cancelled,
    /// A value that no table can hold: no attempt can succeed.
    Data,
    /// Everything else: a row's error if the store accepts other rows.
    Suspicious,
}

pub(super) fn classify(sqlstate: &str) -> Class {
    let is_in = |classes: &[&str]| classes.iter().any(|class| sqlstate.starts_with(class));
    match sqlstate {
        "40001" | "40P01" => Class::Conflict,
        "57014" => Class::Cancelled,
        // Connection, authorization, catalog name, resources, intervention, system error;
        // read-only; lock not available.
        _ if is_in(&["08", "28", "3D", "53", "57", "58", "25", "55"]) => Class::Unavailable,
        // Data exception, program limit.
        _ if is_in(&["22", "54"]) => Class::Data,
        _ => Class::Suspicious,
    }
}

/// The class of an error; one that is not the server's is [`Class::Unavailable`].
pub(super) fn class_of(error: &Error) -> Class {
    error.code().map_or(Class::Unavailable, |code| classify(code.code()))
}

/// Describes a refused row.
pub(super) fn describe_refusal(sqlstate: &str, refused_by: Option<&str>) -> String {
    let mut text = format!("PostgreSQL reported {}", describe_sqlstate(sqlstate, ""));
    if let Some(constraint) = refused_by.filter(|name| !name.is_empty()) {
        text.push_str(&format!(", constraint {constraint}"));
    }
    text
}

/// Converts an error that no row caused.
pub(super) fn unavailable(error: &Error) -> Unavailable {
    Unavailable(match error.as_db_error() {
        Some(db) => describe_db(db),
        None => describe_client(error),
    })
}

fn describe_db(db: &DbError) -> String {
    let mut text =
        format!("PostgreSQL reported {}", describe_sqlstate(db.code().code(), db.message()));
    for (kind, value) in
        [("constraint", db.constraint()), ("table", db.table()), ("column", db.column())]
    {
        if let Some(value) = value {
            text.push_str(&format!(", {kind} {value}"));
        }
    }
    text
}

/// `message` only distinguishes the causes of one code; of its text, only the name of an object is
/// passed on. A server with another `lc_messages` has other texts, so no match is a general cause.
fn describe_sqlstate(code: &str, message: &str) -> String {
    let text = match code {
        "08P01" => "a violation of the protocol; a pooler reports its own errors so: see its log",
        "22P02" => "an invalid text representation",
        "23505" => "a unique violation",
        "23514" => "a check violation",
        "23502" => "a not-null violation",
        "25006" => {
            "that the database is read-only; if the URL names a standby, name the primary too and \
             add target_session_attrs=read-write"
        }
        "28000" if message.contains("no encryption") || message.contains("SSL off") => {
            "that pg_hba.conf does not let this user in without encryption: write sslmode=require \
             in the URL"
        }
        "28000" if message.contains("pg_hba.conf") => {
            "that pg_hba.conf does not let this user in from this address to this database"
        }
        "28000" => "that the user may not connect, or does not exist",
        "28P01" => "that the password is wrong, or the user does not exist",
        "3D000" => "that the database does not exist",
        "42501" => return describe_missing_right(message),
        "42P01" | "42703" => "a missing table or column: run `trailpad migrate`",
        "53100" => "a full disk",
        "53200" => "a lack of memory",
        "53300" => "too many connections",
        "54000" => "that a program limit was exceeded",
        "55P03" => "that a lock was not free in time",
        "57P01" | "57P02" => "that it is shutting down",
        "57P03" => "that it does not accept connections yet",
        "57014" => "that the statement was cancelled",
        _ => return format!("SQLSTATE {code}"),
    };
    format!("{text} (SQLSTATE {code})")
}

/// The name of the table is only in the message, such as `permission denied for table activities`.
fn describe_missing_right(message: &str) -> String {
    let is_name =
        |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || "_ ".contains(char));
    let object = message.strip_prefix("permission denied for ").filter(|rest| is_name(rest));
    let policy = message.strip_prefix("new row violates row-level security policy for ");
    let policy = policy.map(|rest| rest.replace('"', "")).filter(|rest| is_name(rest));
    let text = match (object, policy) {
        (Some(object), _) => format!("that the user lacks a right on {object}"),
        (None, Some(table)) => format!("that a row-level security policy of {table} forbids it"),
        (None, None) => "that the user lacks a right".to_owned(),
    };
    format!("{text} (SQLSTATE 42501)")
}

/// Describes an error of the client: fixed texts for the kinds of tokio-postgres, and the system's
/// text for an I/O error.
fn describe_client(error: &Error) -> String {
    let source = error.source();
    match source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(io) if is_certificate(io) => format!(
            "PostgreSQL connection: {io}: SSL_CERT_FILE names certificates to trust, and \
             sslmode=disable in the URL turns TLS off"
        ),
        Some(io) => format!("PostgreSQL connection: {io}"),
        None if error.is_closed() => "the connection to PostgreSQL was lost".to_owned(),
        None => {
            let source = source.map(ToString::to_string).unwrap_or_default();
            describe_driver(&error.to_string(), &source).to_owned()
        }
    }
}

/// The driver has no other way to distinguish these errors than their texts.
fn describe_driver(error: &str, source: &str) -> &'static str {
    match (error, source) {
        ("timeout waiting for server", _) => "connecting to PostgreSQL timed out",
        (_, "server does not support TLS") => {
            "PostgreSQL offers no TLS, and the URL has sslmode=require"
        }
        (_, "password missing") => "PostgreSQL asks for a password, and the URL has no password",
        ("authentication error", _) => {
            "the authentication with PostgreSQL failed; channel_binding=require needs TLS"
        }
        _ => "the connection to PostgreSQL failed",
    }
}

fn is_certificate(io: &std::io::Error) -> bool {
    let tls = io.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_no_row_can_cause_are_surely_the_environments() {
        for (sqlstate, class) in [
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("57014", Class::Cancelled),
            ("22P02", Class::Data),
            ("22021", Class::Data),
            ("54000", Class::Data),
            ("08006", Class::Unavailable),
            ("25006", Class::Unavailable),
            ("28P01", Class::Unavailable),
            ("3D000", Class::Unavailable),
            ("53100", Class::Unavailable),
            ("53300", Class::Unavailable),
            ("55P03", Class::Unavailable),
            ("57P01", Class::Unavailable),
            ("58030", Class::Unavailable),
            ("23514", Class::Suspicious),
            ("42501", Class::Suspicious),
            ("42P01", Class::Suspicious),
            ("0A000", Class::Suspicious),
            ("P0001", Class::Suspicious),
            ("ZX001", Class::Suspicious),
            ("XX000", Class::Suspicious),
        ] {
            assert_eq!(classify(sqlstate), class, "{sqlstate}");
        }
    }

    #[test]
    fn a_refused_connection_names_the_setting_that_refuses_it() {
        let entry = r#"no pg_hba.conf entry for host "10.0.0.1", user "u", database "d""#;
        for (code, message, wanted) in [
            ("28P01", r#"password authentication failed for user "u""#, "the password is wrong"),
            ("28000", &format!("{entry}, no encryption"), "write sslmode=require"),
            ("28000", &format!("{entry}, SSL off"), "write sslmode=require"),
            ("28000", &format!("{entry}, SSL encryption"), "from this address"),
            ("28000", r#"role "u" does not exist"#, "does not exist"),
            ("28000", "acc\u{e8}s refus\u{e9}", "the user may not connect"),
            ("08P01", "no such user: u", "a pooler"),
        ] {
            let text = describe_sqlstate(code, message);
            assert!(text.contains(wanted) && text.contains(code), "{message}: {text}");
            assert_eq!(text.contains("password"), code == "28P01", "{message}: {text}");
        }
    }

    #[test]
    fn a_missing_right_names_its_table_and_quotes_nothing_else() {
        let describe = |message| describe_sqlstate("42501", message);
        assert_eq!(
            describe("permission denied for table activities"),
            "that the user lacks a right on table activities (SQLSTATE 42501)"
        );
        assert_eq!(
            describe(r#"new row violates row-level security policy for table "activities""#),
            "that a row-level security policy of table activities forbids it (SQLSTATE 42501)"
        );
        for message in ["droit refus\u{e9}", "permission denied for table x: (SECRET)"] {
            assert_eq!(describe(message), "that the user lacks a right (SQLSTATE 42501)");
        }
    }

    #[test]
    fn errors_of_the_driver_name_their_cause() {
        let timeout = describe_client(&Error::__private_api_timeout());
        assert_eq!(timeout, "connecting to PostgreSQL timed out");
        for (error, source, wanted) in [
            ("error performing TLS handshake", "server does not support TLS", "offers no TLS"),
            ("invalid configuration", "password missing", "asks for a password"),
            ("error performing TLS handshake", "other", "the connection to PostgreSQL failed"),
        ] {
            assert!(describe_driver(error, source).contains(wanted), "{source}");
        }
    }
}
