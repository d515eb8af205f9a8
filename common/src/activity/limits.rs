//! How long each part of a payload may be.

/// Lengths in bytes of UTF-8, once decoded. The README repeats them for senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `title`.
    pub title_bytes_max: usize,
    /// `description`.
    pub description_bytes_max: usize,
    /// `trigger` and `event`, each.
    pub label_bytes_max: usize,
    /// `externalId`: part of a unique index, whose entries PostgreSQL bounds at a third of a page.
    pub external_id_bytes_max: usize,
    /// The text of one number: `jsonb` keeps every digit.
    pub number_bytes_max: usize,
    /// The text of `startTime` and `endTime`, each.
    pub timestamp_bytes_max: usize,
}

/// Objects and arrays inside one another, the activity itself included.
pub const DEPTH_MAX: usize = 64;
/// Faults told in one answer, and warnings too.
pub const FINDINGS_MAX: usize = 50;

impl Limits {
    /// What a gateway holds senders to.
    pub const INGRESS: Self = Self {
        title_bytes_max: 1_024,
        description_bytes_max: 65_536,
        label_bytes_max: 512,
        external_id_bytes_max: 512,
        number_bytes_max: 64,
        timestamp_bytes_max: 64,
    };

    /// What a worker holds the queue to: nothing that a version or a setting can change, because
    /// workers are upgraded before gateways and an accepted activity must stay acceptable.
    pub const NONE: Self = Self {
        title_bytes_max: usize::MAX,
        description_bytes_max: usize::MAX,
        label_bytes_max: usize::MAX,
        external_id_bytes_max: usize::MAX,
        number_bytes_max: usize::MAX,
        timestamp_bytes_max: usize::MAX,
    };
}
