//! What `lameduck check` finds in the files that a `tls` table names, and the start without them.

use std::process::Command;

use rcgen::date_time_ymd;

use crate::harness::Proxy;
use crate::harness::proxy::binary;
use crate::scene::Files;

const LISTENER: &str = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\n\
                        upstream = \"agent\"\n";
const UPSTREAM: &str = "[upstream.agent]\nendpoints = [\"127.0.0.1:9\"]\n";

/// The exit code, and what was said.
fn check(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let output = Command::new(binary())
        .arg("check")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// Checks a listener with these keys in its `tls` table.
fn found(tls: &str) -> (Option<i32>, String) {
    check(&format!("{LISTENER}[listener.tls]\n{tls}\n{UPSTREAM}"))
}

#[test]
fn each_fault_is_found_and_named() {
    let files = Files::new();
    let (certificate, key) = (files.toml("tls.crt"), files.toml("tls.key"));
    let good = format!("certificate_file = {certificate}\nkey_file = {key}\n");
    assert_eq!(found(&good), (Some(0), String::new()));

    let other = files.authority.pair(&["localhost"]);
    other.write(files.folder.path(), "other");
    let cases = [
        (String::new(), "there is no certificate to show"),
        (
            format!(
                "certificate_file = {}\nkey_file = {key}",
                files.toml("none")
            ),
            "tls.certificate_file: ",
        ),
        (
            format!(
                "certificate_file = {certificate}\nkey_file = {}",
                files.toml("none")
            ),
            "tls.key_file: ",
        ),
        (
            format!(
                "certificate_file = {certificate}\nkey_file = {}",
                files.toml("other.key")
            ),
            "it does not fit",
        ),
        (
            format!("certificate_file = {certificate}"),
            "there is no key in it",
        ),
        (
            format!("certificate_file = {key}"),
            "there is no certificate in it",
        ),
        (
            format!("certificate_dir = {}", files.toml("none")),
            "tls.certificate_dir: ",
        ),
        (
            format!("{good}client_auth = \"required\""),
            "it is not said who vouches for the clients",
        ),
        (
            format!("{good}client_auth = \"required\"\nclient_ca_file = {key}"),
            "tls.client_ca_file: ",
        ),
    ];
    for (tls, words) in cases {
        let (code, said) = found(&tls);
        assert!(
            code == Some(2) && said.contains(words),
            "{tls}\n{code:?}\n{said}"
        );
    }
    let tcp = LISTENER.replace("http", "tcp");
    let header = "client_subject_header = \"x-a\"\n";
    let (code, said) = check(&format!("{tcp}[listener.tls]\n{good}{header}{UPSTREAM}"));
    assert!(
        code == Some(2) && said.contains("no headers on a tcp listener"),
        "{said}"
    );
    let agent = format!("{LISTENER}{UPSTREAM}[upstream.agent.tls]\nca_file = {key}\n");
    let (code, said) = check(&agent);
    assert!(
        code == Some(2) && said.contains("upstream agent: tls.ca_file: "),
        "{said}"
    );
}

#[test]
fn an_old_certificate_is_a_warning() {
    let files = Files::new();
    let old = files.authority.pair_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    old.write(files.folder.path(), "tls");
    let (certificate, key) = (files.toml("tls.crt"), files.toml("tls.key"));
    let (code, said) = found(&format!(
        "certificate_file = {certificate}\nkey_file = {key}\n"
    ));
    assert_eq!(code, Some(0));
    assert!(
        said.contains("warning: listener web: tls: the certificate `tls` has expired"),
        "{said}"
    );
}

#[tokio::test]
async fn the_proxy_does_not_start_with_a_bad_one() {
    let files = Files::new();
    std::fs::write(files.path("tls.key"), "nonsense").unwrap();
    let proxy: Proxy = files.proxy("http", "127.0.0.1:9".parse().unwrap()).spawn();
    assert_eq!(proxy.exit_within(20).await.code, Some(1));
    let said = proxy.log.to_string();
    assert!(said.contains("listener web: tls.key_file: "), "{said}");
}
