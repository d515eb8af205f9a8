//! The names of an activity's fields in JSON, and suggestions for misspelt names.

use crate::names::stable_names;

stable_names! {
    /// A field of the activity object.
    pub enum Field {
        Title = "title",
        Description = "description",
        StartTime = "startTime",
        EndTime = "endTime",
        Trigger = "trigger",
        Event = "event",
        MemberEmail = "memberEmail",
        ExternalId = "externalId",
        Metadata = "metadata",
    }
}

/// Longer names get no suggestion: they are too far from every known name.
const COMPARED_BYTES_MAX: usize = 32;

impl Field {
    /// Returns the known name that the sender probably meant by `name`.
    pub fn nearest(name: &str) -> Option<&'static str> {
        if name.len() > COMPARED_BYTES_MAX {
            return None;
        }
        let normalised = |name: &str| name.replace(['_', '-', ' '], "").to_lowercase();
        let wanted = normalised(name);
        Self::ALL
            .iter()
            .map(|field| field.as_str())
            .map(|known| (strsim::damerau_levenshtein(&normalised(known), &wanted), known))
            .min()
            // Up to two typing errors, fewer in a short name.
            .filter(|(distance, known)| *distance <= 2.min(known.len() / 3))
            .map(|(_, known)| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gets_the_nearest_known_name() {
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
