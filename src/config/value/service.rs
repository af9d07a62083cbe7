//! What platforms are spoken to with: URLs, commands and names.

use toml::de::DeValue;

use super::address::parse_authority;
use super::{Show, Wrong, kind, string};
use crate::config::keys::Default;
use crate::config::types::OnFreeze;

/// The beginning of the URLs of a metadata service, without the last slash.
pub(in crate::config) fn metadata_url(value: &DeValue<'_>) -> Result<String, Wrong> {
    const EXAMPLE: &str = "\"http://169.254.169.254\"";
    let text = string(value, "a URL", &format!("such as {EXAMPLE}"))?;
    let url = text.trim_end_matches('/');
    let authority = url.strip_prefix("http://").unwrap_or_default();
    // A port may be left out here.
    let is_authority =
        parse_authority(authority).is_ok() || parse_authority(&format!("{authority}:80")).is_ok();
    if authority.is_empty() || !is_authority {
        return Err(Wrong::new(
            format!("`{text}` is not the URL of a metadata service"),
            format!("write http://HOST or http://HOST:PORT, and no path, such as {EXAMPLE}"),
        ));
    }
    Ok(url.to_owned())
}

/// [`metadata_url`], where the default is none.
pub(in crate::config) fn own_metadata_url(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    metadata_url(value).map(Some)
}

/// The name of a virtual machine, as Azure's events have it.
pub(in crate::config) fn vm_name(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    let text = string(value, "a name", "such as \"agents_3\"")?;
    if text.trim().is_empty() || text.trim() != text {
        return Err(Wrong::new(
            format!("`{text}` is not the name of a virtual machine"),
            "write it as the metadata service shows it, such as \"agents_3\"",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A program and its arguments.
pub(in crate::config) fn command(value: &DeValue<'_>) -> Result<Option<Vec<String>>, Wrong> {
    const HELP: &str = "write the program and each of its arguments as a list of texts: \
                        [\"/usr/local/bin/x\", \"arg\"]; there is no shell";
    let DeValue::Array(items) = value else {
        let what = format!("expected a list, found {}", kind(value));
        return Err(Wrong::new(what, HELP));
    };
    let words = items.iter().map(|item| match item.get_ref() {
        DeValue::String(text) if !text.contains('\0') => Ok(text.to_string()),
        DeValue::String(_) => Err(Wrong::new("a text of the list has a NUL in it", HELP)),
        other => {
            let what = format!("expected texts in the list, found {}", kind(other));
            Err(Wrong::new(what, HELP))
        }
    });
    let words = words.collect::<Result<Vec<_>, _>>()?;
    match words.first() {
        Some(program) if !program.trim().is_empty() => Ok(Some(words)),
        _ => Err(Wrong::new("the list names no program", HELP)),
    }
}

impl Show for Option<Vec<String>> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|words| format!("{words:?}"))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

/// A namespace of CloudWatch's metrics.
pub(in crate::config) fn namespace(value: &DeValue<'_>) -> Result<String, Wrong> {
    const LONGEST: usize = 255;
    let text = string(value, "a namespace", "such as \"Lameduck\"")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    // Those that begin with AWS/ are Amazon's own.
    let fits = !text.trim().is_empty() && text.len() <= LONGEST && text.chars().all(legal);
    if !fits || text.starts_with("AWS/") {
        return Err(Wrong::new(
            format!("`{text}` is not a namespace of metrics"),
            format!(
                "write 1 to {LONGEST} letters, digits, blanks and .-_/#: that do not begin with \
                 AWS/, such as \"Lameduck\""
            ),
        ));
    }
    Ok(text.to_owned())
}

/// What is done when the machine is to be frozen for some seconds.
pub(in crate::config) fn on_freeze(value: &DeValue<'_>) -> Result<OnFreeze, Wrong> {
    super::choice::word(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn a_metadata_url_is_a_host_and_no_path() {
        for (text, url) in [
            ("http://169.254.169.254", "http://169.254.169.254"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:80", "http://[::1]:80"),
            (
                "http://metadata.google.internal",
                "http://metadata.google.internal",
            ),
        ] {
            assert_eq!(taken(&format!("{text:?}"), metadata_url), url);
        }
        for text in [
            "",
            "http://",
            "https://h",
            "h:80",
            "http://h/x",
            "http://u@h",
        ] {
            let what = "is not the URL of a metadata service";
            refused(&format!("{text:?}"), metadata_url, what, "http://HOST");
        }
    }

    #[test]
    fn a_command_is_a_list_that_begins_with_a_program() {
        let words = taken("[\"/bin/x\", \"-a\", \"\"]", command).expect("one");
        assert_eq!(words, ["/bin/x", "-a", ""]);
        refused("\"/bin/x -a\"", command, "found a string", "list of texts");
        refused("[\"x\", 1]", command, "found a number", "list of texts");
        refused("[]", command, "names no program", "no shell");
        refused("[\"\"]", command, "names no program", "no shell");
    }

    #[test]
    fn a_namespace_is_what_cloudwatch_takes() {
        assert_eq!(taken("\"Chat/Drain 1\"", namespace), "Chat/Drain 1");
        for text in ["\"\"", "\" \"", "\"é\"", "\"AWS/EC2\"", "\"a,b\""] {
            refused(text, namespace, "is not a namespace", "1 to 255");
        }
    }

    #[test]
    fn the_name_of_a_machine_has_no_blanks_around_it() {
        assert_eq!(taken("\"vm_1\"", vm_name).as_deref(), Some("vm_1"));
        refused("\" vm\"", vm_name, "is not the name", "agents_3");
        refused("\"\"", vm_name, "is not the name", "agents_3");
    }
}
