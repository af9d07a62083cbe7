//! `lameduck check --platform`: what a platform says is held against a configuration.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

/// What is answered, by path; what is not there is a 404.
type Answers = BTreeMap<String, Value>;

/// An API server that knows these, by its URL. It lives as long as the test.
fn server(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut reader = BufReader::new(socket.try_clone().expect("cloned"));
            let mut lines = Vec::new();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                lines.push(std::mem::take(&mut line));
            }
            let head = lines.first().cloned().unwrap_or_default();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let length = lines.iter().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            // What was asked with is read, so that closing does not reset the answer.
            let mut body = vec![0; length.unwrap_or(0)];
            std::io::Read::read_exact(&mut reader, &mut body).expect("a body");
            let (status, answer) = match answers.get(path) {
                Some(answer) => (200, answer.clone()),
                None => (404, json!({"message": format!("no {path}")})),
            };
            let answer = answer.to_string();
            let length = answer.len();
            let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n");
            socket.write_all((head + &answer).as_bytes()).expect("sent");
        }
    });
    url
}

/// The exit code, stdout and stderr of `check --platform k8s`, with the shipped configuration and the
/// API server at `url`.
fn checked(url: &str) -> (Option<i32>, String, String) {
    let shipped = root().join("config/examples/kubernetes/lameduck.toml");
    let shipped = std::fs::read_to_string(shipped).expect("text");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lameduck.toml");
    std::fs::write(&file, format!("{shipped}\napi_url = \"{url}\"\n")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
    command.arg("check").arg(&file).args(["--platform", "k8s"]);
    let variables = [("POD_NAME", "agent-1"), ("POD_NAMESPACE", "chat")];
    let output = command.envs(variables).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let out = text(&output.stdout).replace(&file.display().to_string(), "FILE");
    (output.status.code(), out, text(&output.stderr))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A cluster with this pod, of this Deployment.
fn cluster(spec: &Value, deployment: &Value) -> Answers {
    let owner = |kind: &str, name: &str| json!([{"kind": kind, "name": name}]);
    let pod = json!({
        "metadata": {"name": "agent-1", "ownerReferences": owner("ReplicaSet", "agent-7d9c")},
        "spec": spec,
    });
    let replicas = json!({"metadata": {"ownerReferences": owner("Deployment", "agent")}});
    let apps = "/apis/apps/v1/namespaces/chat";
    Answers::from([
        ("/api/v1/namespaces/chat/pods/agent-1".to_owned(), pod),
        (format!("{apps}/replicasets/agent-7d9c"), replicas),
        (format!("{apps}/deployments/agent"), deployment.clone()),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            json!({"status": {"allowed": true}}),
        ),
    ])
}

/// The interpreter with `tests/requirements.txt`.
fn python() -> Option<PathBuf> {
    let made = root().join(".venv/bin/python");
    let named = std::env::var_os("LAMEDUCK_TEST_PYTHON").map(PathBuf::from);
    named.or_else(|| made.exists().then_some(made))
}

#[test]
fn nothing_is_found_in_the_manifests_that_are_shipped() {
    let Some(python) = python() else {
        eprintln!("LEFT OUT: the manifests need a Python that reads YAML (`tests/run` makes it)");
        return;
    };
    let manifest = root().join("config/examples/kubernetes/deployment.yaml");
    let script = root().join("tests/examples/validate.py");
    let mut command = Command::new(python);
    let output = command.arg(script).arg("json").arg(manifest).output();
    let documents = output.expect("Python starts").stdout;
    let documents: Value = serde_json::from_slice(&documents).expect("JSON");
    let deployment = &documents[0];
    let url = server(cluster(&deployment["spec"]["template"]["spec"], deployment));
    let (code, out, err) = checked(&url);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out, "FILE: good (1 listener, 1 upstream, 0 warnings)\n");
}

#[test]
fn what_would_be_cut_short_is_said_and_refused() {
    let container = |name: &str| json!({"name": name, "image": name});
    let mut answers = cluster(
        &json!({"containers": [container("lameduck"), container("agent")]}),
        &json!({"spec": {}}),
    );
    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    answers.insert(review.into(), json!({"status": {"allowed": false}}));
    let (code, out, err) = checked(&server(answers));
    assert_eq!(
        (code, out.as_str()),
        (Some(2), "FILE: refused (3 errors, 3 warnings)\n"),
        "{err}"
    );
    for said in [
        "error: terminationGracePeriodSeconds: 30s is shorter than drain.window (120s): what is open \
         then is cut\n    help: make it 120s or more, or drain.window 30s or less\n",
        "error: container lameduck: preStop: without one it drains from its SIGTERM only",
        "error: container agent: preStop: without one it gets its SIGTERM when the drain begins",
        "warning: container lameduck: readinessProbe: ",
        "warning: minReadySeconds: ",
        "warning: service account: create events: ",
    ] {
        assert!(err.contains(said), "no {said} in {err}");
    }
}

#[test]
fn a_platform_that_does_not_answer_is_no_verdict() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let (code, out, err) = checked(&url);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.starts_with("error: kubernetes cannot be asked how it is set: "),
        "{err}"
    );
    assert!(err.contains("cannot connect"), "{err}");

    // No such pod.
    let (code, _, err) = checked(&server(Answers::new()));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("pod agent-1: the answer was 404"), "{err}");
}

#[test]
fn a_platform_without_settings_is_wrong_usage() {
    let file = root().join("config/lameduck.toml");
    for (name, help) in [("azure", "write aws, ecs or k8s"), ("k9s", "k9s")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lameduck"));
        command.arg("check").arg(&file).args(["--platform", name]);
        let output = command.output().expect("started");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(help), "{err}");
    }
}
