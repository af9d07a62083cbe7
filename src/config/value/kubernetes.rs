//! How a pod is called, and where its API server is.

use std::path::PathBuf;

use http::Uri;
use toml::de::DeValue;

use super::{Show, Wrong, string};

/// The longest name of an object (RFC 1123, section 2.1).
const LONGEST: usize = 253;

/// The name of a pod.
pub(in crate::config) fn pod_name(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    let text = string(value, "the name of a pod", "such as \"agent-7d9c\"")?;
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let at_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let sound = bytes.iter().copied().all(legal) && at_edge(bytes.first()) && at_edge(bytes.last());
    if !sound || text.len() > LONGEST {
        return Err(Wrong::new(
            format!("`{text}` is not the name of a pod"),
            "write what `kubectl get pods` shows, such as \"agent-7d9c\"",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// Where the API server is.
pub(in crate::config) fn api_url(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    const EXAMPLE: &str = "such as \"https://10.96.0.1:443\"";
    let text = string(value, "a URL", EXAMPLE)?;
    let is_one = text.parse::<Uri>().is_ok_and(|uri| {
        let plain = matches!(uri.scheme_str(), Some("http" | "https"));
        let whole = uri.path() == "/" && uri.query().is_none();
        let secret = uri
            .authority()
            .is_none_or(|authority| authority.as_str().contains('@'));
        plain && whole && !secret
    });
    if !is_one {
        return Err(Wrong::new(
            format!("`{text}` is not the URL of an API server"),
            format!("write a scheme, a host and a port, and no path, {EXAMPLE}"),
        ));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// A directory that is read.
pub(in crate::config) fn directory(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    const EXAMPLE: &str = "such as \"/var/run/secrets/kubernetes.io/serviceaccount\"";
    let text = string(value, "the path of a directory", EXAMPLE)?;
    if !text.starts_with('/') {
        return Err(Wrong::new(
            format!("`{text}` is not the path of a directory"),
            format!("write it from the root, {EXAMPLE}"),
        ));
    }
    Ok(PathBuf::from(text))
}

impl Show for PathBuf {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn a_pod_is_called_what_the_cluster_would_call_it() {
        let name = taken("\"agent-0.b\"", pod_name);
        assert_eq!(name.as_deref(), Some("agent-0.b"));
        let long = format!("\"{}\"", "a".repeat(254));
        for text in [
            "\"\"",
            "\"Agent\"",
            "\"-a\"",
            "\"a-\"",
            "\"a/b\"",
            "\"a b\"",
            &long,
        ] {
            refused(text, pod_name, "is not the name of a pod", "kubectl");
        }
    }

    #[test]
    fn an_api_server_has_a_scheme_and_a_host() {
        for (text, meant) in [
            ("\"https://10.96.0.1:443\"", "https://10.96.0.1:443"),
            ("\"http://127.0.0.1:8001/\"", "http://127.0.0.1:8001"),
            ("\"https://[fd00::1]:6443\"", "https://[fd00::1]:6443"),
        ] {
            assert_eq!(taken(text, api_url).as_deref(), Some(meant));
        }
        for text in [
            "\"\"",
            "\"10.96.0.1:443\"",
            "\"ftp://10.96.0.1\"",
            "\"https://10.96.0.1/api\"",
            "\"https://10.96.0.1?a=b\"",
            "\"https://me:word@10.96.0.1\"",
        ] {
            refused(text, api_url, "is not the URL of an API server", "no path");
        }
    }

    #[test]
    fn a_directory_is_named_from_the_root() {
        assert_eq!(taken("\"/var/run\"", directory), PathBuf::from("/var/run"));
        refused("\"secrets\"", directory, "is not the path", "from the root");
    }
}
