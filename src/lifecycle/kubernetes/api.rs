//! The API server: where it is, and how it is called.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use serde::Deserialize;

use crate::config::platform::Kubernetes;
use crate::lifecycle::call::{self, Failed};

use super::account::Account;
use super::pod::Pod;

/// The longest that an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// What is told of a refusal, in characters.
const TOLD: usize = 300;

/// Merges what is sent into what is there (RFC 7386).
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// The API server, and which pod this is.
#[derive(Debug)]
pub(super) struct Api {
    /// Scheme and authority.
    base: String,
    account: Account,
    pub(super) namespace: String,
    pub(super) pod: String,
}

/// Why a call brought nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// One word for the metric.
    pub(super) word: &'static str,
    /// The whole of it.
    pub(super) story: String,
}

impl Wrong {
    /// Whether the service account may not do it, so that asking again is no use.
    pub(super) fn is_final(&self) -> bool {
        self.word == word(StatusCode::FORBIDDEN)
    }
}

/// What the API server says when it has nothing better (`Status` of `meta/v1`).
#[derive(Debug, Deserialize)]
struct Status {
    message: String,
}

impl Api {
    /// The API server of the cluster that this pod is in.
    ///
    /// # Errors
    /// When neither the configuration nor the environment says where it is, or which pod this is.
    pub(super) fn find(
        settings: &Kubernetes,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Api, String> {
        let base = match &settings.api_url {
            Some(url) => url.clone(),
            None => in_cluster(&variable).ok_or(
                "neither KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT nor `api_url` say \
                 where the API server is: this is no pod",
            )?,
        };
        let account = Account(settings.service_account_dir.clone());
        let pod = settings.pod.clone();
        let pod = pod.or_else(|| variable("POD_NAME"));
        let pod = pod.or_else(|| variable("HOSTNAME"));
        let pod = pod.ok_or("neither POD_NAME, HOSTNAME nor `pod` say which pod this is")?;
        let namespace = match variable("POD_NAMESPACE") {
            Some(namespace) => namespace,
            None => account.namespace()?,
        };
        Ok(Api {
            base,
            account,
            namespace,
            pod,
        })
    }

    /// Our own pod.
    pub(super) async fn pod(&self) -> Result<Pod, Wrong> {
        let answer = self.call(Method::GET, &self.pod_path(), None).await?;
        serde_json::from_slice(&answer).map_err(|error| Wrong {
            word: "malformed",
            story: format!("what came is no pod: {error}"),
        })
    }

    /// Changes what is in `patch` of our own pod, and nothing else.
    pub(super) async fn patch_pod(&self, patch: &serde_json::Value) -> Result<(), Wrong> {
        let body = Some((MERGE_PATCH, patch));
        self.call(Method::PATCH, &self.pod_path(), body).await?;
        Ok(())
    }

    /// Writes an event.
    pub(super) async fn create_event(&self, event: &serde_json::Value) -> Result<(), Wrong> {
        let path = format!("/api/v1/namespaces/{}/events", self.namespace);
        match self.call(Method::POST, &path, Some((JSON, event))).await {
            // An earlier attempt was heard after all.
            Err(wrong) if wrong.word == word(StatusCode::CONFLICT) => Ok(()),
            other => other.map(drop),
        }
    }

    /// An object, as it is.
    pub(super) async fn read(&self, path: &str) -> Result<serde_json::Value, Wrong> {
        let answer = self.call(Method::GET, path, None).await?;
        serde_json::from_slice(&answer).map_err(|error| unmade(&error))
    }

    /// Whether the service account may do something to what is in the namespace. This may be asked
    /// by everybody.
    pub(super) async fn may(&self, verb: &str, resource: &str) -> Result<bool, Wrong> {
        let asked = serde_json::json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": self.namespace, "verb": verb, "resource": resource,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self.call(Method::POST, path, Some((JSON, &asked))).await?;
        let review: serde_json::Value =
            serde_json::from_slice(&answer).map_err(|error| unmade(&error))?;
        let allowed = review.pointer("/status/allowed");
        Ok(allowed.and_then(serde_json::Value::as_bool) == Some(true))
    }

    pub(super) fn pod_path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.pod)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &serde_json::Value)>,
    ) -> Result<Bytes, Wrong> {
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|error| unmade(&error))?;
        // A token is not said aloud: over plain HTTP there is a proxy that has its own.
        let is_secret = uri.scheme_str() == Some("https");
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        let tls = if is_secret {
            let bearer = self.account.bearer().map_err(|story| Wrong {
                word: "token",
                story,
            })?;
            headers.insert(AUTHORIZATION, bearer);
            Some(self.account.tls().map_err(|error| {
                let failed = Failed::Untrusted(error.to_string());
                Wrong::of(&failed)
            })?)
        } else {
            None
        };
        if let Some((kind, body)) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            let body = serde_json::to_vec(body).map_err(|error| unmade(&error))?;
            *request.body_mut() = body.into();
        }
        let answer = call::send(request, tls.as_ref(), LIMIT).await;
        let answer = answer.map_err(|failed| Wrong::of(&failed))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let said: Option<Status> = serde_json::from_slice(answer.body()).ok();
        let said = said.map_or_else(String::new, |said| said.message);
        let said: String = said.chars().take(TOLD).collect();
        Err(Wrong {
            word: word(status),
            story: format!("the answer was {status}: {said}"),
        })
    }
}

impl Wrong {
    fn of(failed: &Failed) -> Wrong {
        Wrong {
            word: failed.label(),
            story: failed.to_string(),
        }
    }
}

fn unmade(error: &dyn std::error::Error) -> Wrong {
    Wrong {
        word: "malformed",
        story: format!("the request cannot be made: {error}"),
    }
}

/// One word for a status.
fn word(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::CONFLICT => "conflict",
        StatusCode::TOO_MANY_REQUESTS => "throttled",
        status if status.is_server_error() => "server_error",
        _ => "status",
    }
}

/// Where the API server is for those who are in the cluster.
fn in_cluster(variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let host = variable("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty())?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    // An IPv6 address stands in brackets in a URL.
    Some(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use super::*;

    fn settings() -> Kubernetes {
        Kubernetes {
            poll: Duration::from_secs(5),
            pod_deletion_cost: false,
            deletion_cost_every: Duration::from_secs(30),
            events: true,
            pod: None,
            api_url: None,
            service_account_dir: PathBuf::from("/nowhere"),
        }
    }

    fn found(settings: &Kubernetes, variables: &[(&str, &str)]) -> Result<Api, String> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Api::find(settings, |name| {
            variables.get(name).map(|value| (*value).to_owned())
        })
    }

    #[test]
    fn what_the_environment_says_is_found_and_a_key_goes_over_it() {
        let mut variables = vec![
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("HOSTNAME", "agent-0"),
            ("POD_NAMESPACE", "chat"),
        ];
        let api = found(&settings(), &variables).expect("a pod");
        assert_eq!(
            (api.base.as_str(), api.pod.as_str(), api.namespace.as_str()),
            ("https://10.96.0.1:443", "agent-0", "chat")
        );
        variables[0].1 = "fd00::1";
        variables.push(("POD_NAME", "agent-1"));
        let api = found(&settings(), &variables).expect("a pod");
        assert_eq!(
            (api.base.as_str(), api.pod.as_str()),
            ("https://[fd00::1]:443", "agent-1")
        );
        let keys = Kubernetes {
            pod: Some("agent-2".to_owned()),
            api_url: Some("https://api:6443".to_owned()),
            ..settings()
        };
        let api = found(&keys, &variables).expect("a pod");
        assert_eq!(
            (api.base.as_str(), api.pod.as_str()),
            ("https://api:6443", "agent-2")
        );
    }

    #[test]
    fn what_nobody_says_is_named() {
        let wrong = found(&settings(), &[]).expect_err("nothing");
        assert!(wrong.contains("KUBERNETES_SERVICE_HOST"), "{wrong}");
        let mut variables = vec![
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ];
        let wrong = found(&settings(), &variables).expect_err("no name");
        assert!(wrong.contains("POD_NAME"), "{wrong}");
        variables.push(("POD_NAME", "agent-0"));
        let wrong = found(&settings(), &variables).expect_err("no namespace");
        assert!(wrong.contains("/nowhere/namespace"), "{wrong}");
    }
}
