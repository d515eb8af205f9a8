//! Limits of a payload's parts.

/// Lengths in bytes of UTF-8 after decoding of escapes. The README lists them for senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub title_bytes_max: usize,
    pub description_bytes_max: usize,
    /// `trigger` and `event`.
    pub label_bytes_max: usize,
    /// `externalId` is in a unique index; PostgreSQL limits its entries to a third of a page.
    pub external_id_bytes_max: usize,
    /// The digits of a number, because `jsonb` stores every digit.
    pub number_bytes_max: usize,
    /// `startTime` and `endTime`.
    pub timestamp_bytes_max: usize,
}

/// Nested objects and arrays, including the activity itself.
pub const DEPTH_MAX: usize = 64;
/// Maximum number of faults in one response; the same limit applies to warnings.
pub const FINDINGS_MAX: usize = 50;

impl Limits {
    /// The limits that a gateway applies to senders.
    pub const INGRESS: Self = Self {
        title_bytes_max: 1_024,
        description_bytes_max: 65_536,
        label_bytes_max: 512,
        external_id_bytes_max: 512,
        number_bytes_max: 64,
        timestamp_bytes_max: 64,
    };

    /// No limits, for workers. Limits can differ between versions and settings, and workers are
    /// upgraded before gateways: a worker must not reject an activity that a gateway accepted.
    pub const NONE: Self = Self {
        title_bytes_max: usize::MAX,
        description_bytes_max: usize::MAX,
        label_bytes_max: usize::MAX,
        external_id_bytes_max: usize::MAX,
        number_bytes_max: usize::MAX,
        timestamp_bytes_max: usize::MAX,
    };
}
