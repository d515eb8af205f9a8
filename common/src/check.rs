//! The check of a store at the start of a process: faults that waiting does not repair.

use crate::failure::Unavailable;

/// The process that uses a store. Each needs rights on other tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreUser {
    Gateway,
    Worker,
    Dashboard,
}

impl StoreUser {
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Worker, Self::Dashboard];
}

/// Why a role can't use its store.
///
/// A newer schema is not a fault: during an upgrade, roles of the previous version continue on it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CheckError {
    #[error(
        "the encoding of the database is {found}, which can't hold every character: create a \
         database with ENCODING 'UTF8' TEMPLATE template0"
    )]
    WrongEncoding { found: String },
    #[error(
        "the database has no schema of Trailpad, or its user may not see it: run `trailpad \
         migrate`, then grant the user the rights on the tables"
    )]
    NoSchema,
    #[error(
        "the schema of the database has version {found}, and this version of Trailpad needs \
         {wanted}: run `trailpad migrate`"
    )]
    SchemaOlder { found: i32, wanted: i32 },
    /// Each is a right and its table, such as `INSERT on activities`.
    #[error("the user of the database lacks rights; grant {}", .0.join(", "))]
    MissingRights(Vec<String>),
    /// The check could not be made.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
