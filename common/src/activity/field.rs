//! The fields of the contract, by name.

/// A field of the activity object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `title`
    Title,
    /// `description`
    Description,
    /// `startTime`
    StartTime,
    /// `endTime`
    EndTime,
    /// `trigger`
    Trigger,
    /// `event`
    Event,
    /// `memberEmail`
    MemberEmail,
    /// `externalId`
    ExternalId,
    /// `metadata`
    Metadata,
}

const FIELDS: [(&str, Field); 9] = [
    ("title", Field::Title),
    ("description", Field::Description),
    ("startTime", Field::StartTime),
    ("endTime", Field::EndTime),
    ("trigger", Field::Trigger),
    ("event", Field::Event),
    ("memberEmail", Field::MemberEmail),
    ("externalId", Field::ExternalId),
    ("metadata", Field::Metadata),
];

/// Longer names are not compared: no known name is near them.
const COMPARED_BYTES_MAX: usize = 32;

impl Field {
    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    /// The known name that `name` was probably meant to be.
    pub fn nearest(name: &str) -> Option<&'static str> {
        if name.len() > COMPARED_BYTES_MAX {
            return None;
        }
        let plain = |name: &str| name.replace(['_', '-', ' '], "").to_lowercase();
        let wanted = plain(name);
        FIELDS
            .iter()
            .map(|(known, _)| (strsim::damerau_levenshtein(&plain(known), &wanted), *known))
            .min()
            // A typing error or two, in a name long enough to have them.
            .filter(|(distance, known)| *distance <= 2.min(known.len() / 3))
            .map(|(_, known)| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_suggests_the_known_one() {
        for (name, known) in [
            ("starttime", "startTime"),
            ("start_time", "startTime"),
            ("Title", "title"),
            ("tilte", "title"),
            ("externalID", "externalId"),
            ("member_email", "memberEmail"),
            ("meta-data", "metadata"),
            ("desciption", "description"),
        ] {
            assert_eq!(Field::nearest(name), Some(known), "{name}");
        }
        for name in ["colour", "x", "", "email", &"title".repeat(100)] {
            assert_eq!(Field::nearest(name), None, "{name}");
        }
    }
}
