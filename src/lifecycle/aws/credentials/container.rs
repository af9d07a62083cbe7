//! The credentials that a task of ECS or a pod of EKS has from an agent on its machine.

use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode, Uri};

use super::of_json;
use crate::lifecycle::aws::environment::Environment;
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::desk::Desk;

const LIMIT: Duration = Duration::from_secs(2);
/// Where the relative variant is.
const AGENT: &str = "http://169.254.170.2";
/// Who may be told the token without TLS: the agents of ECS and EKS, and the machine itself.
const NEAR: [&str; 6] = [
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::23]",
    "127.0.0.1",
    "[::1]",
    "localhost",
];

/// Where the credentials are, and what opens the door.
pub(super) struct Container {
    url: String,
    token: Option<String>,
    token_file: Option<PathBuf>,
}

impl Container {
    /// As the variables say, if they do.
    pub(super) fn of(environment: &Environment) -> Option<Container> {
        let relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.map(|path| format!("{AGENT}{path}"));
        let full = || environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        Some(Container {
            url: relative.or_else(full)?,
            token: environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            token_file: file.map(PathBuf::from),
        })
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// When it is no agent's address, and when the agent does not answer.
    pub(super) async fn fetch(&self, desk: &Desk) -> Result<Credentials, Fault> {
        if !is_near(&self.url) {
            let why = "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine";
            return Err(Fault::NoCredentials(why.to_owned()));
        }
        let mut request = Request::get(&self.url)
            .body(Bytes::new())
            .map_err(|error| Fault::Unsound(error.to_string()))?;
        if let Some(token) = self.token()? {
            let why = |_| Fault::NoCredentials("the token cannot stand in a header".to_owned());
            let mut value = HeaderValue::try_from(token).map_err(why)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = desk.send(request, LIMIT).await?;
        if answer.status() != StatusCode::OK {
            return Err(Fault::refused(answer.status().as_u16(), answer.body()));
        }
        of_json(answer.body(), "container")
    }

    /// The token. Its file is read each time, since it is replaced from time to time.
    fn token(&self) -> Result<Option<String>, Fault> {
        let Some(path) = &self.token_file else {
            return Ok(self.token.clone());
        };
        let read = std::fs::read_to_string(path);
        let why = |error| Fault::NoCredentials(format!("{}: {error}", path.display()));
        read.map(|text| Some(text.trim().to_owned())).map_err(why)
    }
}

fn is_near(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else {
        return false;
    };
    url.scheme_str() == Some("https") || url.host().is_some_and(|host| NEAR.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_to_agents_only() {
        for url in [
            "https://example.com/c",
            "http://127.0.0.1:9/c",
            "http://[fd00:ec2::23]/v1",
        ] {
            assert!(is_near(url), "{url}");
        }
        for url in [
            "http://example.com/c",
            "http://169.254.170.2.example.com/",
            "nonsense",
            "",
        ] {
            assert!(!is_near(url), "{url}");
        }
    }

    #[test]
    fn the_relative_variant_is_the_agents() {
        let variables = [(
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "/v2/credentials/x",
        )];
        let container = Container::of(&Environment::of(&variables)).unwrap();
        assert_eq!(container.url, "http://169.254.170.2/v2/credentials/x");
        assert!(Container::of(&Environment::of(&[])).is_none());
    }
}
