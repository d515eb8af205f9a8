//! PostgreSQL's errors: whose fault, and in words that quote nothing.
//!
//! A server's message may hold a payload ("Failing row contains …"), so none is passed on: texts
//! are made of the SQLSTATE and of the names of tables, columns and constraints.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};
use trailpad_common::failure::Unavailable;
use trailpad_common::store::StoreError;

/// What an SQLSTATE says of the batch it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Another transaction was in the way: at once again.
    Conflict,
    /// The environment.
    Unavailable,
    /// Something in a row.
    Row,
}

/// Classifies an SQLSTATE (PostgreSQL, Appendix A). What is not surely a row's is the
/// environment's: to hold costs time, to blame a row costs it its attempts.
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

/// Whose fault an error is; a conflict that outlived its repetitions is the environment's.
pub(super) fn store_error(error: &Error) -> StoreError {
    match error.as_db_error() {
        Some(db) if classify(db.code().code()) == Class::Row => {
            StoreError::Refused(describe_db(db))
        }
        _ => StoreError::Unavailable(unavailable(error)),
    }
}

/// Whether the same transaction may succeed if it is tried again at once.
pub(super) fn is_conflict(error: &Error) -> bool {
    error.code().is_some_and(|code| classify(code.code()) == Class::Conflict)
}

/// An error for which nobody's row is to blame.
pub(super) fn unavailable(error: &Error) -> Unavailable {
    Unavailable(match error.as_db_error() {
        Some(db) => describe_db(db),
        None => describe_client(error),
    })
}

fn describe_db(db: &DbError) -> String {
    let mut text = format!("PostgreSQL said {}", name(db.code()));
    for (what, value) in
        [("constraint", db.constraint()), ("table", db.table()), ("column", db.column())]
    {
        if let Some(value) = value {
            text.push_str(&format!(", {what} {value}"));
        }
    }
    text
}

fn name(code: &SqlState) -> String {
    let code = code.code();
    let words = match code {
        "22P02" => "invalid text representation",
        "23505" => "unique violation",
        "23514" => "check violation",
        "23502" => "not-null violation",
        "25006" => "the database is read-only",
        "42P01" | "42703" => "a table or column is missing: run `trailpad migrate`",
        "53100" => "the disk is full",
        "53200" => "out of memory",
        "53300" => "too many connections",
        "54000" => "a program limit was exceeded",
        "57P01" | "57P02" => "it is shutting down",
        "57P03" => "it can't take connections yet",
        "57014" => "the query was cancelled",
        "28P01" | "28000" => "the user or its password is wrong",
        "3D000" => "there is no such database",
        _ => return format!("SQLSTATE {code}"),
    };
    format!("{words} (SQLSTATE {code})")
}

/// tokio-postgres's own kinds of error have fixed texts; an I/O error below says what the system
/// said.
fn describe_client(error: &Error) -> String {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    match io {
        Some(io) if is_certificate(io) => format!(
            "PostgreSQL connection: {io}: SSL_CERT_FILE names certificates to trust, and \
             sslmode=disable in the URL speaks without TLS"
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
    fn each_kind_of_error_is_blamed_on_a_row_only_if_it_is_one_rows() {
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
