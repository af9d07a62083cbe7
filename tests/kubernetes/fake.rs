//! An API server of Kubernetes that knows one pod and its events, and takes nothing that the real one
//! would not.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATIENCE, Proxy};
use crate::schema;
use crate::wire::{Answer, Asked, serve};

pub(crate) const NAMESPACE: &str = "chat";
pub(crate) const POD: &str = "agent-7d9c";
pub(crate) const UID: &str = "0b5c1f1e-8f0e-4c39-9d54-2f5e4c0b9a77";
pub(crate) const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A request that was taken, and when.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) asked: Asked,
    pub(crate) status: u16,
    pub(crate) at: Instant,
}

/// What the server knows.
pub(crate) struct State {
    pub(crate) pod: Value,
    pub(crate) events: Vec<Value>,
    pub(crate) taken: Vec<Taken>,
    /// Methods that the Role does not have.
    pub(crate) forbidden: HashSet<&'static str>,
    token: String,
    /// What the real one would not have taken.
    faults: Vec<String>,
}

impl State {
    /// How many requests of this method were answered so.
    pub(crate) fn count(&self, method: &str, status: u16) -> usize {
        let is = |taken: &&Taken| taken.asked.method == method && taken.status == status;
        self.taken.iter().filter(is).count()
    }
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// The server, and the service account of its pod.
pub(crate) struct Fake {
    addr: SocketAddr,
    account: TempDir,
    shared: Shared,
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.state().faults, [""; 0]);
        }
    }
}

impl Fake {
    /// A pod with a native sidecar, which is us, and an agent that runs.
    pub(crate) fn start() -> Fake {
        let names = vec!["127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let account = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            std::fs::write(account.path().join(name), text).expect("written");
        };
        write("ca.crt", &made.cert.pem());
        write("namespace", NAMESPACE);
        write("token", "first-token\n");
        let state = State {
            pod: pod(),
            events: Vec::new(),
            taken: Vec::new(),
            forbidden: HashSet::new(),
            token: "first-token".to_owned(),
            faults: Vec::new(),
        };
        let shared: Shared = Arc::new((Mutex::new(state), Condvar::new()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("its own key");
        let answering = Arc::clone(&shared);
        let addr = serve(Some(Arc::new(config)), move |asked| {
            let (state, changed) = &*answering;
            let mut state = state.lock().expect("sound");
            let answer = state.answer(&asked);
            let (status, at) = (answer.0, Instant::now());
            state.taken.push(Taken { asked, status, at });
            changed.notify_all();
            answer
        });
        Fake {
            addr,
            account,
            shared,
        }
    }

    /// A proxy in the pod, with these keys in `[platform.kubernetes]` and tables before it.
    pub(crate) fn proxy(&self, tables: &str, keys: &str) -> Proxy {
        let (host, port) = (self.addr.ip().to_string(), self.addr.port().to_string());
        let variables = [
            ("KUBERNETES_SERVICE_HOST", host.as_str()),
            ("KUBERNETES_SERVICE_PORT", &port),
            ("POD_NAME", POD),
        ];
        let account = self.account.path().to_str().expect("text");
        let tables =
            format!("{tables}[platform.kubernetes]\nservice_account_dir = \"{account}\"\n{keys}\n");
        Proxy::start_in(&variables, &tables)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("sound")
    }

    /// Waits until `found` finds something in what the server knows.
    pub(crate) fn wait<T>(&self, what: &str, mut found: impl FnMut(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(found) = found(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in time: {what}: {:?}", state.taken);
            (state, _) = self.shared.1.wait_timeout(state, left).expect("sound");
        }
    }

    /// Waits until the pod has been read so many times more.
    pub(crate) fn looked(&self, times: usize) {
        let before = self.state().count("GET", 200);
        self.wait("looks at the pod", |state| {
            (state.count("GET", 200) >= before + times).then_some(())
        });
    }

    /// Deletes the pod, as of now.
    pub(crate) fn delete(&self, grace: Duration) {
        let at = humantime::format_rfc3339_seconds(SystemTime::now() + grace);
        let metadata = &mut self.state().pod["metadata"];
        metadata["deletionTimestamp"] = at.to_string().into();
        metadata["deletionGracePeriodSeconds"] = grace.as_secs().into();
    }

    /// The agent, which is the only main container, has ended.
    pub(crate) fn end_agent(&self) {
        let state = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        assert_eq!(schema::faults("ContainerState", &state), [""; 0]);
        self.state().pod["status"]["containerStatuses"][0]["state"] = state;
    }

    /// Replaces the token; the earlier one is no good any more.
    pub(crate) fn rotate(&self, token: &str) {
        let mut state = self.state();
        replace(&self.account.path().join("token"), token);
        token.clone_into(&mut state.token);
    }
}

/// A kubelet replaces a mounted file as a whole.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(new, path).expect("renamed");
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE, "uid": UID},
        "spec": {
            "nodeName": "node-3",
            "terminationGracePeriodSeconds": 45,
            "initContainers": [{"name": "lameduck", "restartPolicy": "Always"}],
            "containers": [{"name": "agent"}],
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": "lameduck", "state": {"running": {}}}],
            "containerStatuses": [{"name": "agent", "state": {"running": {}}}],
        },
    })
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.field("authorization") != format!("Bearer {}", self.token) {
            return status(401, "Unauthorized", "Unauthorized");
        }
        let pod = format!("/api/v1/namespaces/{NAMESPACE}/pods/{POD}");
        let events = format!("/api/v1/namespaces/{NAMESPACE}/events");
        let method = asked.method.as_str();
        if let Some(method) = self.forbidden.get(method) {
            let message = format!(
                "pods \"{POD}\" is forbidden: User \"system:serviceaccount:{NAMESPACE}:default\" \
                 cannot {method} resource"
            );
            return status(403, "Forbidden", &message);
        }
        match method {
            "GET" if asked.path == pod => (200, self.pod.clone()),
            "PATCH" if asked.path == pod => self.patch(asked),
            "POST" if asked.path == events => self.create(asked),
            _ => {
                self.faults.push(format!("{method} {}", asked.path));
                status(
                    404,
                    "NotFound",
                    "the server could not find the requested resource",
                )
            }
        }
    }

    /// Takes a merge patch of annotations.
    fn patch(&mut self, asked: &Asked) -> Answer {
        let kind = asked.field("content-type");
        if kind != "application/merge-patch+json" {
            self.faults.push(format!("a patch of type {kind}"));
            return status(
                415,
                "UnsupportedMediaType",
                "the body was in an unknown format",
            );
        }
        let metadata = &asked.body["metadata"];
        self.faults.extend(schema::faults("ObjectMeta", metadata));
        let fields = asked.body.as_object().map(serde_json::Map::len);
        if fields != Some(1) || metadata.as_object().map(serde_json::Map::len) != Some(1) {
            self.faults.push(format!("a patch of more: {}", asked.body));
        }
        let annotations = metadata["annotations"].as_object();
        for (name, value) in annotations.into_iter().flatten() {
            let number = value.as_str().unwrap_or_default();
            // What the ReplicaSet controller takes for a cost.
            if name != COST || number.parse::<i32>().map(|n| n.to_string()).as_deref() != Ok(number)
            {
                self.faults.push(format!("{name}: {value}"));
            }
            self.pod["metadata"]["annotations"][name] = value.clone();
        }
        (200, self.pod.clone())
    }

    /// Takes an event.
    fn create(&mut self, asked: &Asked) -> Answer {
        let event = &asked.body;
        let kind = asked.field("content-type");
        if kind != "application/json" {
            self.faults.push(format!("an event of type {kind}"));
        }
        self.faults.extend(schema::faults("Event", event));
        // As the API server validates events (pkg/apis/core/validation/events.go).
        let about = &event["involvedObject"];
        if about["namespace"] != NAMESPACE || event["metadata"]["namespace"] != NAMESPACE {
            self.faults
                .push(format!("an event of another namespace: {event}"));
        }
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if name.is_empty() || name.len() > 253 || !name.chars().all(legal) {
            self.faults.push(format!("an event of the name {name}"));
        }
        if self
            .events
            .iter()
            .any(|had| had["metadata"]["name"] == name)
        {
            return status(409, "AlreadyExists", "the event is there already");
        }
        self.events.push(event.clone());
        (201, event.clone())
    }
}

/// What stands in for an object when there is none.
fn status(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    });
    assert_eq!(schema::faults("Status", &status), [""; 0]);
    (code, status)
}
