//! Credentials: from whoever gives them, kept until shortly before they expire.

mod container;
mod role;
mod web_identity;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use super::clock::Clock;
use super::environment::Environment;
use super::fault::Fault;
use super::imds::Imds;
use crate::lifecycle::desk::Desk;

/// So long before they expire new ones are fetched: both are good then, so a failure costs nothing.
const AHEAD: Duration = Duration::from_secs(300);

/// Gives credentials, from the first of the usual sources that has any: the environment, a web
/// identity, the container's, the instance's role.
pub(super) struct Keychain {
    desk: Desk,
    environment: Arc<Environment>,
    clock: Arc<Clock>,
    kept: Mutex<Option<Credentials>>,
    /// Held while fetching, so that calls at the same time fetch once.
    fetching: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain").finish_non_exhaustive()
    }
}

impl Keychain {
    pub(super) fn new(desk: &Desk, environment: &Arc<Environment>, clock: &Arc<Clock>) -> Keychain {
        Keychain {
            desk: desk.clone(),
            environment: Arc::clone(environment),
            clock: Arc::clone(clock),
            kept: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Credentials that are good now.
    ///
    /// # Errors
    /// When there are none.
    pub(super) async fn get(&self, imds: &Imds, region: &str) -> Result<Credentials, Fault> {
        if let Some(kept) = self.lasting(AHEAD) {
            return Ok(kept);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(fetched) = self.lasting(AHEAD) {
            return Ok(fetched);
        }
        match self.fetch(imds, region).await {
            Ok(fetched) => {
                self.keep(Some(fetched.clone()));
                Ok(fetched)
            }
            // The old ones are good for some minutes yet.
            Err(fault) => self.lasting(Duration::ZERO).ok_or(fault),
        }
    }

    /// Throws away what the service does not take, unless it has been replaced already.
    pub(super) fn refused(&self, refused: &Credentials) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |kept: &Credentials| {
            kept.access_key_id() == refused.access_key_id()
                && kept.session_token() == refused.session_token()
        };
        if kept.as_ref().is_some_and(same) {
            *kept = None;
        }
    }

    fn lasting(&self, ahead: Duration) -> Option<Credentials> {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        let lasts = kept
            .expiry()
            .is_none_or(|expiry| self.clock.until(expiry) > ahead);
        lasts.then_some(kept)
    }

    fn keep(&self, credentials: Option<Credentials>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    async fn fetch(&self, imds: &Imds, region: &str) -> Result<Credentials, Fault> {
        let environment = &self.environment;
        if let Some(given) = of_environment(environment) {
            return Ok(given);
        }
        if let Some(identity) = web_identity::Identity::of(environment) {
            let endpoint = environment.endpoint(super::environment::Service::Tokens, region);
            return self.judged(
                "AssumeRoleWithWebIdentity",
                identity.exchange(&self.desk, &endpoint).await,
            );
        }
        if let Some(container) = container::Container::of(environment) {
            return self.judged("credentials", container.fetch(&self.desk).await);
        }
        role::fetch(imds).await
    }

    fn judged(
        &self,
        call: &'static str,
        went: Result<Credentials, Fault>,
    ) -> Result<Credentials, Fault> {
        let judged = went.as_ref().map(|_| ());
        self.desk.went(
            call,
            judged.map_err(|fault| (fault.label(), fault.to_string())),
        );
        went
    }
}

fn of_environment(environment: &Environment) -> Option<Credentials> {
    let id = environment.get("AWS_ACCESS_KEY_ID")?;
    let secret = environment.get("AWS_SECRET_ACCESS_KEY")?;
    let token = environment.get("AWS_SESSION_TOKEN");
    Some(Credentials::new(id, secret, token, None, "environment"))
}

/// What the instance's role and a container's credentials look like.
fn of_json(body: &[u8], source: &'static str) -> Result<Credentials, Fault> {
    let answer: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Fault::Unclear("JSON in it"))?;
    let text = |name: &str| answer.get(name).and_then(|value| value.as_str());
    let id = text("AccessKeyId").ok_or(Fault::Unclear("AccessKeyId"))?;
    let secret = text("SecretAccessKey").ok_or(Fault::Unclear("SecretAccessKey"))?;
    let token = text("Token").map(str::to_owned);
    let expiry = text("Expiration").and_then(expiry);
    Ok(Credentials::new(id, secret, token, expiry, source))
}

fn expiry(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_all_or_nothing() {
        let (id, secret) = (
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        );
        let token = ("AWS_SESSION_TOKEN", "token");
        assert!(of_environment(&Environment::of(&[id])).is_none());
        let long = of_environment(&Environment::of(&[id, secret])).unwrap();
        assert_eq!((long.access_key_id(), long.session_token()), ("AKID", None));
        let short = of_environment(&Environment::of(&[id, secret, token])).unwrap();
        assert_eq!(short.session_token(), Some("token"));
        assert!(!format!("{short:?}").contains("hush"), "{short:?}");
    }

    #[test]
    fn an_answer_has_an_expiry_or_not() {
        let body = br#"{"Code":"Success","AccessKeyId":"AKID","SecretAccessKey":"s","Token":"t",
                        "Expiration":"2026-11-26T12:45:33Z"}"#;
        let found = of_json(body, "role").unwrap();
        assert_eq!(
            found.expiry(),
            humantime::parse_rfc3339("2026-11-26T12:45:33Z").ok()
        );
        let fault = of_json(br#"{"AccessKeyId":"AKID"}"#, "role").unwrap_err();
        assert_eq!(fault.to_string(), "an answer without SecretAccessKey");
    }
}
