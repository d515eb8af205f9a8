//! Classifies and describes errors of PostgreSQL.
//!
//! A server's message may quote a payload ("Failing row contains …"), so it is never passed on:
//! texts consist of the SQLSTATE and the names of tables, columns and constraints.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};
use trailpad_common::failure::Unavailable;
use trailpad_common::store::StoreError;

/// The cause of a failed batch, according to its SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A conflict with another transaction: retry immediately.
    Conflict,
    /// The environment failed: the same batch may succeed later.
    Unavailable,
    /// A row of the batch is invalid.
    Row,
}

/// Classifies an SQLSTATE (PostgreSQL, Appendix A).
///
/// If in doubt, an error is [`Class::Unavailable`]: holding costs only time, but blaming a row
/// costs its attempts.
pub(super) fn classify(sqlstate: &str) -> Class {
    match sqlstate {
        "40001" | "40P01" => Class::Conflict,
        // Data exception, cardinality, integrity constraint, WITH CHECK, program limit, RAISE.
        _ if ["22", "21", "23", "44", "54", "P0"]
            .iter()
            .any(|class| sqlstate.starts_with(class)) =>
        {
            Class::Row
        }
        _ => Class::Unavailable,
    }
}

/// Converts an error of a batch. A conflict that is left after all retries counts as unavailable.
pub(super) fn store_error(error: &Error) -> StoreError {
    match error.as_db_error() {
        Some(db) if classify(db.code().code()) == Class::Row => {
            StoreError::Refused(describe_db(db))
        }
        _ => StoreError::Unavailable(unavailable(error)),
    }
}

/// `true` if the same transaction may succeed when it is retried immediately.
pub(super) fn is_conflict(error: &Error) -> bool {
    error.code().is_some_and(|code| classify(code.code()) == Class::Conflict)
}

/// Converts an error that no row caused.
pub(super) fn unavailable(error: &Error) -> Unavailable {
    Unavailable(match error.as_db_error() {
        Some(db) => describe_db(db),
        None => describe_client(error),
    })
}

fn describe_db(db: &DbError) -> String {
    let mut text = format!("PostgreSQL reported {}", describe_sqlstate(db.code()));
    for (kind, value) in
        [("constraint", db.constraint()), ("table", db.table()), ("column", db.column())]
    {
        if let Some(value) = value {
            text.push_str(&format!(", {kind} {value}"));
        }
    }
    text
}

fn describe_sqlstate(code: &SqlState) -> String {
    let code = code.code();
    let text = match code {
        "22P02" => "an invalid text representation",
        "23505" => "a unique violation",
        "23514" => "a check violation",
        "23502" => "a not-null violation",
        "25006" => "that the database is read-only",
        "42P01" | "42703" => "a missing table or column: run `trailpad migrate`",
        "53100" => "a full disk",
        "53200" => "a lack of memory",
        "53300" => "too many connections",
        "54000" => "that a program limit was exceeded",
        "57P01" | "57P02" => "that it is shutting down",
        "57P03" => "that it does not accept connections yet",
        "57014" => "that the statement was cancelled",
        "28P01" | "28000" => "that the user or the password is wrong",
        "3D000" => "that the database does not exist",
        _ => return format!("SQLSTATE {code}"),
    };
    format!("{text} (SQLSTATE {code})")
}

/// Describes an error of the client: fixed texts for the kinds of tokio-postgres, and the system's
/// text for an I/O error.
fn describe_client(error: &Error) -> String {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    match io {
        Some(io) if is_certificate(io) => format!(
            "PostgreSQL connection: {io}: SSL_CERT_FILE names certificates to trust, and \
             sslmode=disable in the URL turns TLS off"
        ),
        Some(io) => format!("PostgreSQL connection: {io}"),
        None if error.is_closed() => "the connection to PostgreSQL was lost".to_owned(),
        None => "the connection to PostgreSQL failed".to_owned(),
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
    fn an_error_is_blamed_on_a_row_only_if_a_row_caused_it() {
        for (sqlstate, class) in [
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("22P02", Class::Row),
            ("23514", Class::Row),
            ("54000", Class::Row),
            ("P0001", Class::Row),
            ("08006", Class::Unavailable),
            ("25006", Class::Unavailable),
            ("28P01", Class::Unavailable),
            ("3D000", Class::Unavailable),
            ("42P01", Class::Unavailable),
            ("42501", Class::Unavailable),
            ("53100", Class::Unavailable),
            ("53300", Class::Unavailable),
            ("55P03", Class::Unavailable),
            ("57014", Class::Unavailable),
            ("57P01", Class::Unavailable),
            ("58030", Class::Unavailable),
            ("XX001", Class::Unavailable),
            ("99999", Class::Unavailable),
        ] {
            assert_eq!(classify(sqlstate), class, "{sqlstate}");
        }
    }
}
