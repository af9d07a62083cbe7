//! Clients that show who they are, and such as pretend to.

use std::process::Output;

use crate::harness::Proxy;
use crate::harness::agent::Agent;
use crate::harness::authority::Authority;
use crate::harness::wire::Wire;
use crate::scene::Files;

/// An agent that answers with the head that it got.
fn mirror() -> Agent {
    Agent::scripted(|_, mut wire: Wire| async move {
        while let Some((head, body)) = wire.next_request().await {
            let mut text = head.first.clone();
            for (name, value) in head.fields.iter().chain(&body.trailers) {
                text += &format!("\n{name}: {value}");
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
            let _ = wire.send(answer).await;
        }
    })
}

async fn scene(auth: &str) -> (Files, Agent, Proxy) {
    let files = Files::new();
    let shown = |name: &str| {
        let name = name.to_owned();
        files.authority.pair_with(&[], |params| {
            let subject = &mut params.distinguished_name;
            *subject = rcgen::DistinguishedName::new();
            subject.push(rcgen::DnType::OrganizationName, "Example");
            subject.push(rcgen::DnType::CommonName, name);
        })
    };
    shown("alice").write(files.folder.path(), "alice");
    let stranger = Authority::new("Somebody else").pair(&[]);
    stranger.write(files.folder.path(), "stranger");
    let agent = mirror();
    let proxy = files
        .proxy("http", agent.addr)
        .set("listener.tls", "client_auth", &format!("\"{auth}\""))
        .set("listener.tls", "client_ca_file", &files.toml("ca.pem"))
        .set(
            "listener.tls",
            "client_subject_header",
            "\"x-client-subject\"",
        )
        .start()
        .await;
    (files, agent, proxy)
}

/// `curl`, with a certificate if there is one.
async fn curl(files: &Files, proxy: &Proxy, shown: Option<&str>, more: &[&str]) -> Output {
    let port = proxy.addr("web").port();
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "--cacert", &files.path("ca.pem")]);
    if let Some(name) = shown {
        curl.args(["--cert", &files.path(&format!("{name}.crt"))]);
        curl.args(["--key", &files.path(&format!("{name}.key"))]);
    }
    let url = format!("https://localhost:{port}/a");
    curl.args(more).arg(url).output().await.expect("curl runs")
}

fn subjects(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\nx-forwarded-proto: https"), "{text}");
    assert!(text.contains(";proto=https"), "{text}");
    text.lines()
        .filter(|line| {
            line.to_lowercase()
                .replace('_', "-")
                .starts_with("x-client-subject")
        })
        .map(str::to_owned)
        .collect()
}

const FORGED: [&str; 8] = [
    "-H",
    "X-Client-Subject: CN=root",
    "-H",
    "x_client_subject: CN=root",
    "-H",
    "Connection: x-client-subject",
    "-H",
    "X-CLIENT-SUBJECT: CN=admin",
];

#[tokio::test]
async fn where_it_is_required_only_the_vouched_for_come_in() {
    let (files, _agent, proxy) = scene("required").await;
    let alice = ["x-client-subject: CN=alice,O=Example"];
    assert_eq!(
        subjects(&curl(&files, &proxy, Some("alice"), &[]).await),
        alice
    );
    assert_eq!(
        subjects(&curl(&files, &proxy, Some("alice"), &FORGED).await),
        alice
    );
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        for shown in [None, Some("stranger")] {
            let output = curl(&files, &proxy, shown, version).await;
            assert!(
                !output.status.success(),
                "{version:?} {shown:?}: {output:?}"
            );
        }
    }
    let refused = |s: &crate::harness::metrics::Scrape| {
        s.sum(
            "lameduck_sessions_refused_total",
            &[("reason", "tls_handshake")],
        ) >= 2.0
    };
    proxy.metrics_until("the refusals", refused).await;
}

#[tokio::test]
async fn where_it_is_optional_nobody_is_who_he_only_says_he_is() {
    let (files, _agent, proxy) = scene("optional").await;
    let none = [""; 0];
    assert_eq!(subjects(&curl(&files, &proxy, None, &FORGED).await), none);
    let alice = ["x-client-subject: CN=alice,O=Example"];
    assert_eq!(
        subjects(&curl(&files, &proxy, Some("alice"), &FORGED).await),
        alice
    );
    let stranger = curl(&files, &proxy, Some("stranger"), &[]).await;
    assert!(!stranger.status.success(), "{stranger:?}");
}

#[tokio::test]
async fn behind_the_body_nobody_says_who_he_is_either() {
    let (files, _agent, proxy) = scene("optional").await;
    let tls = files
        .authority
        .client(crate::harness::authority::ONLY_13, None);
    let front = crate::between::before(proxy.addr("web"), tls, crate::between::Pieces::Whole);
    let mut wire = Wire::connect(front.addr).await.unwrap();
    let request = "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-a, x-client-subject\r\n\
                   transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-client-subject: CN=root\r\n\r\n";
    wire.send(request).await.unwrap();
    let answer = crate::harness::within(10, "an answer", wire.response("POST")).await;
    let text = answer.unwrap().text();
    assert!(!text.to_lowercase().contains("subject"), "{text}");
}
