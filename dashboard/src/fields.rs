//! Fields of a form or a query by name, and the rules for values that people enter.

use trailpad_common::admin::Cursor;
use trailpad_common::email::Email;

use crate::error::PageError;

const NAME_CHARS_MAX: usize = 100;

/// Names and values, as received.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses `application/x-www-form-urlencoded`, the format of forms and of queries.
    pub fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The trimmed value of a field; `None` if it is missing or blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).map(str::trim).find(|value| !value.is_empty())
    }

    /// The value exactly as received; empty if the field is missing.
    pub fn raw(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Parses an id; `None` if the field is absent.
    pub fn id<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, PageError> {
        self.get(name).map(|text| text.parse().map_err(|_| PageError::NotFound)).transpose()
    }

    /// A display name. `subject` begins the error text for a missing name.
    /// Parses the cursor of a page; `None` if the field is absent.
    pub fn cursor(&self, name: &str) -> Result<Option<Cursor>, PageError> {
        self.get(name).map(|text| text.parse().map_err(|_| PageError::NotFound)).transpose()
    }

    pub fn name(&self, field: &str, subject: &str) -> Result<String, PageError> {
        let name = self.get(field).unwrap_or_default();
        if name.is_empty() {
            return Err(PageError::Rejected(format!(
                "{subject} needs a name: go back and write one"
            )));
        }
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(PageError::Rejected(format!(
                "A name has at most {NAME_CHARS_MAX} characters, on one line: go back and shorten it"
            )));
        }
        Ok(name.to_owned())
    }

    pub fn email(&self, field: &str) -> Result<Email, PageError> {
        Email::parse(self.get(field).unwrap_or_default()).map_err(|_| {
            PageError::Rejected(
                "That is not an e-mail address: go back and write one such as jane@example.com"
                    .into(),
            )
        })
    }

    /// The query string of the same list with one field changed or removed.
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(
            self.0.iter().filter(|(known, value)| known != name && !value.trim().is_empty()),
        );
        if let Some(value) = value {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_trimmed_and_blank_ones_are_missing() {
        let fields = Fields::parse(b"name=+My+CRM+&blank=++&id=1&id=2&x=%3Cb%3E");
        assert_eq!(fields.get("name"), Some("My CRM"));
        assert_eq!(fields.get("blank"), None);
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.with("id", Some("3")), "name=+My+CRM+&x=%3Cb%3E&id=3");
        assert_eq!(fields.with("name", None), "id=1&id=2&x=%3Cb%3E");
    }

    #[test]
    fn names_are_short_and_on_one_line() {
        for text in ["", "++", "a%00b", "a%0Ab", &"x".repeat(101)] {
            assert!(
                Fields::parse(format!("n={text}").as_bytes()).name("n", "A").is_err(),
                "{text}"
            );
        }
        let name = Fields::parse("n=Kundeservice+é".as_bytes()).name("n", "A");
        assert_eq!(name.expect("the name should be accepted"), "Kundeservice é");
    }
}
