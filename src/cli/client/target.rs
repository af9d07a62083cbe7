//! Which proxy a command speaks to.

use std::path::PathBuf;

use clap::Args;
use http::HeaderValue;
use http::uri::{Authority, Uri};

use super::wire::Address;
use super::{Client, Error};
use crate::config::{Bind, Token, Wrong, flag};

/// Which proxy, and what it wants to know.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The control API of the proxy; ADDRESS:PORT alone will do, and unix:/PATH for a unix socket
    #[arg(
        long,
        value_name = "URL",
        env = "LAMEDUCK_ADMIN",
        default_value = "http://127.0.0.1:9181",
        value_parser = admin
    )]
    admin: Admin,

    /// The file with the token of the control API, where it wants one
    #[arg(long, value_name = "FILE", env = "LAMEDUCK_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// Where a control API answers.
#[derive(Clone, Debug, PartialEq)]
enum Admin {
    At(Authority),
    Unix(PathBuf),
}

/// The address in a URL, or the path of a unix socket.
fn admin(text: &str) -> Result<Admin, String> {
    if text.starts_with("unix:") {
        return match flag::admin(text) {
            Ok(Bind::Unix(path)) => Ok(Admin::Unix(path)),
            Ok(Bind::Tcp(_)) => Err("write it as unix:/PATH".to_owned()),
            Err(wrong) => Err(wrong.to_string()),
        };
    }
    authority(text).map(Admin::At)
}

/// The address in a URL; the proxy's own environment may hold it without a scheme.
fn authority(text: &str) -> Result<Authority, String> {
    let help = "write it as http://ADDRESS:PORT";
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => return Err(format!("the control API speaks no TLS; {help}")),
        Some(_) => return Err(help.to_owned()),
        None => text,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority: Authority = rest.parse().map_err(|_| help.to_owned())?;
    let whole = Uri::builder()
        .scheme("http")
        .authority(authority.clone())
        .path_and_query("/")
        .build();
    if whole.is_err() || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(help.to_owned());
    }
    Ok(authority)
}

impl Target {
    /// The client for it.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let bearer = match &self.token_file {
            None => None,
            Some(path) => {
                let token = Token::read(path).map_err(|Wrong { what, help }| Error::Usage {
                    what: format!("--token-file: {what}"),
                    help,
                })?;
                let value = HeaderValue::try_from(format!("Bearer {}", token.as_str()));
                let mut value = value.map_err(|error| Error::Strange(error.to_string()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let (host, address) = match &self.admin {
            Admin::At(authority) => {
                let port = authority.port_u16().unwrap_or(80);
                let address = format!("{}:{port}", authority.host());
                (authority.as_str(), Address::Tcp(address))
            }
            Admin::Unix(path) => ("localhost", Address::Unix(path.clone())),
        };
        Ok(Client {
            address,
            host: HeaderValue::from_str(host).map_err(|error| Error::Strange(error.to_string()))?,
            bearer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_or_an_address() {
        for (text, expected) in [
            ("http://127.0.0.1:9181", "127.0.0.1:9181"),
            ("http://127.0.0.1:9181/", "127.0.0.1:9181"),
            ("127.0.0.1:9181", "127.0.0.1:9181"),
            ("http://[::1]:9181", "[::1]:9181"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(authority(text).unwrap(), expected, "{text}");
        }
        for text in [
            "https://127.0.0.1:1",
            "unix:/run/x",
            "ftp://a",
            "http://a/b",
            "",
            "a@b:1",
        ] {
            authority(text).expect_err(text);
        }
        let unix = Admin::Unix("/run/x".into());
        assert_eq!(admin("unix:/run/x"), Ok(unix));
        for text in ["unix:run/x", "unix:", "http://unix:/run/x"] {
            admin(text).expect_err(text);
        }
    }
}
