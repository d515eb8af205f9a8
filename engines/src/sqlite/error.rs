//! Classifies and describes errors of SQLite. Texts quote nothing of a payload.

use rusqlite::{Error, ErrorCode};
use trailpad_common::failure::Unavailable;

/// An error of one row (sqlite.org/rescode.html).
pub(super) struct Refusal {
    /// No attempt can succeed.
    pub is_permanent: bool,
    /// For people.
    pub error: String,
}

/// Returns `None` if the environment caused the error.
pub(super) fn refusal(error: &Error) -> Option<Refusal> {
    let is_permanent = match error.sqlite_error_code()? {
        ErrorCode::TooBig | ErrorCode::TypeMismatch => true,
        // A constraint or a trigger of the operator, who may change it.
        ErrorCode::ConstraintViolation => false,
        _ => return None,
    };
    Some(Refusal { is_permanent, error: describe(error) })
}

/// Converts an error that no row caused.
pub(super) fn unavailable(error: &Error) -> Unavailable {
    Unavailable(describe(error))
}

/// Describes an error with a fixed text and SQLite's extended error code.
pub(super) fn describe(error: &Error) -> String {
    let Error::SqliteFailure(failure, _) = error else {
        return "the file holds an unexpected value".to_owned();
    };
    let text = match failure.code {
        ErrorCode::ConstraintViolation => "a constraint was violated",
        ErrorCode::TooBig => "a value is too large",
        ErrorCode::TypeMismatch => "a value has the wrong type",
        ErrorCode::DiskFull => "the disk is full",
        ErrorCode::ReadOnly => "the file is read-only",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "another process keeps the file busy"
        }
        ErrorCode::DatabaseCorrupt => "the file is damaged",
        ErrorCode::NotADatabase => "the file is damaged, or is not an SQLite database",
        ErrorCode::SystemIoFailure => "the disk failed to read or write",
        ErrorCode::CannotOpen => "the file can't be opened",
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            "opening the file is not permitted"
        }
        ErrorCode::OutOfMemory => "out of memory",
        _ => "SQLite failed",
    };
    format!("{text} (SQLite error {})", failure.extended_code)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn error(code: std::os::raw::c_int) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), Some("SECRET".to_owned()))
    }

    #[test]
    fn an_error_is_blamed_on_a_row_only_if_a_row_caused_it() {
        for (code, is_permanent) in [
            (ffi::SQLITE_CONSTRAINT_CHECK, false),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, false),
            (ffi::SQLITE_TOOBIG, true),
            (ffi::SQLITE_MISMATCH, true),
        ] {
            let refusal = refusal(&error(code)).expect("a row should be at fault");
            assert_eq!(refusal.is_permanent, is_permanent, "{code}");
            assert!(!refusal.error.contains("SECRET"), "{}", refusal.error);
        }
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_NOTADB,
        ] {
            assert!(refusal(&error(code)).is_none(), "{code}");
            let text = unavailable(&error(code)).to_string();
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
}
