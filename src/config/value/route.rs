//! Keys of `[[listener.route]]`.

use std::sync::Arc;

use toml::de::DeValue;

use super::{Wrong, string};

/// A host name, or `*.` and one.
pub(in crate::config) fn route_host(value: &DeValue<'_>) -> Result<Option<Arc<str>>, Wrong> {
    let help = "such as \"chat.example.com\" or \"*.example.com\"";
    let text = string(value, "the name of a host", help)?;
    let name = text.strip_prefix("*.").unwrap_or(text);
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || name.ends_with('.') || !name.chars().all(legal) {
        let what = format!("`{text}` is not the name of a host");
        return Err(Wrong::new(what, format!("write it without a port, {help}")));
    }
    Ok(Some(text.to_ascii_lowercase().into()))
}

/// What a path begins with.
pub(in crate::config) fn route_path(value: &DeValue<'_>) -> Result<Option<Arc<str>>, Wrong> {
    let help = "such as \"/api\"";
    let text = string(value, "the beginning of a path", help)?;
    let legal = |c: char| c.is_ascii_graphic() && !"?#".contains(c);
    if !text.starts_with('/') || !text.chars().all(legal) {
        let what = format!("`{text}` is not the beginning of a path");
        return Err(Wrong::new(what, format!("begin it with a slash, {help}")));
    }
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, taken};
    use super::*;

    #[test]
    fn hosts_and_paths() {
        assert_eq!(
            taken("\"*.Example.com\"", route_host).as_deref(),
            Some("*.example.com")
        );
        for text in [
            "\"\"",
            "\"a:80\"",
            "\"*\"",
            "\"*.\"",
            "\"a/b\"",
            "\"a.*.b\"",
        ] {
            refused(
                text,
                route_host,
                "is not the name of a host",
                "without a port",
            );
        }
        assert_eq!(taken("\"/api\"", route_path).as_deref(), Some("/api"));
        for text in ["\"\"", "\"api\"", "\"/a?b\"", "\"/a b\""] {
            refused(
                text,
                route_path,
                "is not the beginning of a path",
                "with a slash",
            );
        }
    }
}
