//! The credentials of a role that somebody else's token stands for (IRSA).

use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};

use super::expiry;
use crate::lifecycle::aws::environment::Environment;
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::aws::form::{FORM, Form};
use crate::lifecycle::aws::xml::Element;
use crate::lifecycle::desk::Desk;

const LIMIT: Duration = Duration::from_secs(5);

/// A token, and the role that it stands for.
pub(super) struct Identity {
    token_file: PathBuf,
    role: String,
    session: String,
}

impl Identity {
    /// As the variables say, if they do.
    pub(super) fn of(environment: &Environment) -> Option<Identity> {
        let session = environment.get("AWS_ROLE_SESSION_NAME");
        Some(Identity {
            token_file: environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")?.into(),
            role: environment.get("AWS_ROLE_ARN")?,
            session: session.unwrap_or_else(|| "lameduck".to_owned()),
        })
    }

    /// Exchanges the token; the call is not signed. The file is read each time, since it is
    /// replaced from time to time.
    ///
    /// # Errors
    /// When the token cannot be read, and when the service does not take it.
    pub(super) async fn exchange(&self, desk: &Desk, endpoint: &str) -> Result<Credentials, Fault> {
        let path = self.token_file.display();
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|error| Fault::NoCredentials(format!("{path}: {error}")))?;
        let mut form = Form::new("AssumeRoleWithWebIdentity", "2011-06-15");
        form.add("RoleArn", &self.role);
        form.add("RoleSessionName", &self.session);
        form.add("WebIdentityToken", token.trim());
        let request = Request::post(format!("{endpoint}/"))
            .header(CONTENT_TYPE, FORM)
            .body(Bytes::from(form.text()))
            .map_err(|error| Fault::Unsound(error.to_string()))?;
        let answer = desk.send(request, LIMIT).await?;
        if answer.status() != StatusCode::OK {
            return Err(Fault::refused(answer.status().as_u16(), answer.body()));
        }
        read(answer.body())
    }
}

fn read(body: &[u8]) -> Result<Credentials, Fault> {
    let answer = Element::parse(body).ok_or(Fault::Unclear("XML in it"))?;
    let found = answer
        .find("Credentials")
        .ok_or(Fault::Unclear("Credentials"))?;
    let id = found
        .text_of("AccessKeyId")
        .ok_or(Fault::Unclear("AccessKeyId"))?;
    let secret = found
        .text_of("SecretAccessKey")
        .ok_or(Fault::Unclear("SecretAccessKey"))?;
    let token = found.text_of("SessionToken").map(str::to_owned);
    let expires = found.text_of("Expiration").and_then(expiry);
    Ok(Credentials::new(id, secret, token, expires, "web identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_holds_credentials() {
        let body = br#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>t</SessionToken>
            <SecretAccessKey>s</SecretAccessKey><Expiration>2026-11-26T12:45:33Z</Expiration>
            <AccessKeyId>AKID</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
            </AssumeRoleWithWebIdentityResponse>"#;
        let found = read(body).unwrap();
        assert_eq!(
            (found.access_key_id(), found.session_token()),
            ("AKID", Some("t"))
        );
        assert!(found.expiry().is_some());
        assert!(read(b"<a/>").is_err());
    }

    #[test]
    fn both_variables_are_needed() {
        let (file, role) = (
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
            ("AWS_ROLE_ARN", "arn"),
        );
        assert!(Identity::of(&Environment::of(&[file])).is_none());
        let identity = Identity::of(&Environment::of(&[file, role])).unwrap();
        assert_eq!(identity.session, "lameduck");
    }
}
