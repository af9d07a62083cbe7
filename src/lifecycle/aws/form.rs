//! The body of a call of the Query protocol.

use std::fmt::Write as _;

/// The type of such bodies.
pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Fields with their values.
#[derive(Clone, Debug)]
pub(super) struct Form(String);

impl Form {
    /// An action of a version of the API.
    pub(super) fn new(action: &str, version: &str) -> Form {
        Form(format!("Action={action}&Version={version}"))
    }

    /// Adds a field; names are ours, and plain.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push('&');
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                // A String takes whatever is written to it.
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
    }

    /// Adds the members of a list.
    pub(super) fn add_list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        for (index, value) in values.into_iter().enumerate() {
            self.add(&format!("{name}.member.{}", index + 1), value);
        }
    }

    /// The whole.
    pub(super) fn text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let mut form = Form::new("Do", "1");
        form.add("Name", "a b/ü&=+~");
        form.add_list("Ids", ["i-1", "i-2"]);
        assert_eq!(
            form.text(),
            "Action=Do&Version=1&Name=a%20b%2F%C3%BC%26%3D%2B~&Ids.member.1=i-1&Ids.member.2=i-2"
        );
    }
}
