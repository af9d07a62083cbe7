//! The credentials of the instance's role.

use aws_credential_types::Credentials;

use super::of_json;
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::aws::imds::{Imds, Silent};

const PATH: &str = "iam/security-credentials/";

/// Asks the metadata service.
///
/// # Errors
/// When it does not answer, and when the instance has no role.
pub(super) async fn fetch(imds: &Imds) -> Result<Credentials, Fault> {
    let silent = |silent: Silent| Fault::NoCredentials(silent.to_string());
    let nobody = || Fault::NoCredentials("the instance has no role".to_owned());
    let roles = imds.get(PATH).await.map_err(silent)?;
    let role = roles.as_deref().and_then(|roles| roles.lines().next());
    let role = role.filter(|role| !role.is_empty()).ok_or_else(nobody)?;
    let answer = imds.get(&format!("{PATH}{role}")).await.map_err(silent)?;
    of_json(answer.ok_or_else(nobody)?.as_bytes(), "role")
}
