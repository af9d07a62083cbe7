//! Keys that are on or off.

use toml::de::DeValue;

use super::{Show, Wrong, kind};

/// `true` or `false`.
pub(in crate::config) fn switch(value: &DeValue<'_>) -> Result<bool, Wrong> {
    if let DeValue::Boolean(on) = value {
        return Ok(*on);
    }
    let found = match value {
        DeValue::String(_) => "a string; leave the quotes out",
        other => kind(other),
    };
    Err(Wrong::new(
        format!("expected true or false, found {found}"),
        "write true or false",
    ))
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn a_switch_is_true_or_false() {
        for on in [true, false] {
            assert_eq!(taken(&on.show(), switch), on);
        }
        for text in ["\"true\"", "\"on\"", "1", "[]"] {
            refused(
                text,
                switch,
                "expected true or false",
                "write true or false",
            );
        }
    }
}
