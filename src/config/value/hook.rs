//! Where the agent's hooks are.

use http::Uri;
use toml::de::DeValue;

use super::address::parse_authority;
use super::{Show, Wrong, string};
use crate::config::keys::Default;
use crate::config::types::HookUrl;

const EXAMPLE: &str = "\"http://127.0.0.1:9000/lameduck\"";

/// The URL of a hook.
pub(in crate::config) fn hook_url(value: &DeValue<'_>) -> Result<Option<HookUrl>, Wrong> {
    parse(string(value, "a URL", &format!("such as {EXAMPLE}"))?).map(Some)
}

fn parse(text: &str) -> Result<HookUrl, Wrong> {
    let wrong = |help: String| Wrong::new(format!("`{text}` is not the URL of a hook"), help);
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(wrong(match text.split_once("://") {
            Some(("https", rest)) => {
                format!("hooks speak plain HTTP, to an agent next door: \"http://{rest}\"")
            }
            _ => format!("write http://HOST:PORT/path, such as {EXAMPLE}"),
        }));
    };
    let Some(slash) = rest.find('/') else {
        return Err(wrong(format!("write the path too: \"http://{rest}/\"")));
    };
    let (authority, path) = rest.split_at(slash);
    let authority = parse_authority(authority).map_err(|_| {
        wrong(format!(
            "write the host and the port too, such as {EXAMPLE}"
        ))
    })?;
    // What a request line can hold (RFC 3986, section 2); a fragment is never sent.
    let legal = |b: u8| b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b);
    if !path.bytes().all(legal) || path.parse::<Uri>().is_err() {
        return Err(wrong(
            "write the path without blanks or #, and escape what a URL cannot hold".to_owned(),
        ));
    }
    Ok(HookUrl {
        authority,
        path: path.into(),
    })
}

impl Show for Option<HookUrl> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|url| format!("\"{url}\""))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn a_hook_has_a_host_a_port_and_a_path() {
        for text in [
            "http://127.0.0.1:9000/",
            "http://agent.local:80/a/b?c=d",
            "http://[::1]:9000/x",
        ] {
            let url = taken(&format!("{text:?}"), hook_url).expect(text);
            assert_eq!(url.to_string(), text);
        }
        for (text, help) in [
            ("", "http://HOST:PORT/path"),
            ("127.0.0.1:9000/x", "http://HOST:PORT/path"),
            ("ftp://127.0.0.1:9000/x", "http://HOST:PORT/path"),
            ("https://agent:9000/x", "\"http://agent:9000/x\""),
            ("http://127.0.0.1:9000", "\"http://127.0.0.1:9000/\""),
            ("http://agent/x", "the host and the port"),
            ("http://agent:0/x", "the host and the port"),
            ("http://user@agent:80/x", "the host and the port"),
            ("http://agent:80/a b", "without blanks"),
            ("http://agent:80/a#b", "without blanks"),
            ("http://agent:80/é", "escape"),
            ("http://agent:80/a\\\"b", "without blanks"),
        ] {
            let value = format!("\"{text}\"");
            refused(&value, hook_url, "is not the URL of a hook", help);
        }
    }
}
