//! The proxy as OpenSSL sees it: versions, names, tickets, the end.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

use crate::harness::agent::http::HttpAgent;
use crate::harness::{Proxy, within};
use crate::scene::{Files, quoted};

/// What `openssl s_client` prints in an exchange with the proxy.
async fn s_client(files: &Files, proxy: &Proxy, arguments: &[&str]) -> String {
    let offered = ["-alpn", "h2,http/1.1"];
    s_client_with(files, proxy, &[&offered, arguments].concat()).await
}

/// The same, with nothing said of what is spoken over it.
pub async fn s_client_with(files: &Files, proxy: &Proxy, arguments: &[&str]) -> String {
    let mut child = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &proxy.addr("web").to_string()])
        .args(["-CAfile", &files.path("ca.pem")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl runs");
    let mut stdin = child.stdin.take().unwrap();
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // One that could not shake hands has gone.
    let _ = stdin.write_all(request.as_bytes()).await;
    let output = within(20, "openssl's end", child.wait_with_output())
        .await
        .unwrap();
    drop(stdin);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn both_versions_shake_hands_and_are_answered() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let proxy = files.proxy("http", agent.agent.addr).start().await;
    for (flag, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = s_client(&files, &proxy, &[flag, "-servername", "localhost"]).await;
        for words in [
            "HTTP/1.1 200 OK",
            "Verify return code: 0 (ok)",
            shown,
            "ALPN protocol: http/1.1",
        ] {
            assert!(said.contains(words), "no {words:?} in:\n{said}");
        }
        // The line that it prints behind a close_notify, and not behind a bare FIN.
        assert!(
            said.contains("closed") && !said.contains("unexpected eof"),
            "{said}"
        );
    }
    let said = s_client(&files, &proxy, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).await;
    assert!(!said.contains("200 OK"), "{said}");
}

#[tokio::test]
async fn older_versions_are_refused_where_it_is_said() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let proxy = files.proxy("http", agent.agent.addr);
    let proxy = proxy
        .set("listener.tls", "min_version", "\"1.3\"")
        .start()
        .await;
    let said = s_client(&files, &proxy, &["-tls1_3"]).await;
    assert!(said.contains("200 OK"), "{said}");
    let said = s_client(&files, &proxy, &["-tls1_2"]).await;
    assert!(
        !said.contains("200 OK") && said.contains("alert protocol version"),
        "{said}"
    );
}

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name() {
    let files = Files::new();
    let folder = files.folder.path().join("more");
    std::fs::create_dir(&folder).unwrap();
    for (file, names) in [
        ("a", &["a.example", "b.example"][..]),
        ("w", &["*.w.example"]),
    ] {
        files.authority.pair(names).write(&folder, file);
    }
    // A key may stand in the file of the certificate.
    let both = files.authority.pair(&["pem.example"]);
    std::fs::write(folder.join("p.pem"), both.certificate + &both.key).unwrap();
    let agent = HttpAgent::start();
    let proxy = files.proxy("http", agent.agent.addr);
    let proxy = proxy.set("listener.tls", "certificate_dir", &quoted(&folder));
    let proxy = proxy.start().await;
    for (asked, is) in [
        ("localhost", "localhost"),
        ("a.example", "a.example"),
        ("B.Example", "b.example"),
        ("x.w.example", "x.w.example"),
        ("pem.example", "pem.example"),
        // None is for these: the first of all.
        ("w.example", "localhost"),
        ("x.y.w.example", "localhost"),
        ("other.example", "localhost"),
    ] {
        let arguments = ["-servername", asked, "-verify_hostname", is];
        let said = s_client(&files, &proxy, &arguments).await;
        assert!(
            said.contains("Verify return code: 0 (ok)"),
            "{asked}:\n{said}"
        );
    }
    let said = s_client(
        &files,
        &proxy,
        &["-noservername", "-verify_hostname", "localhost"],
    )
    .await;
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
}

#[tokio::test]
async fn a_ticket_outlives_the_certificate_it_was_given_under() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let proxy = files.proxy("http", agent.agent.addr).start().await;
    let ticket = files.path("ticket");
    for flag in ["-tls1_2", "-tls1_3"] {
        let said = s_client(&files, &proxy, &[flag, "-sess_out", &ticket]).await;
        assert!(said.contains("New, TLS"), "{said}");
        let before = proxy.scrape().await.unwrap();
        let taken = before.sum(
            "lameduck_tls_certificate_reloads_total",
            &[("result", "taken")],
        );
        files
            .authority
            .pair(&["localhost"])
            .write(files.folder.path(), "tls");
        let more = |s: &crate::harness::metrics::Scrape| {
            s.sum(
                "lameduck_tls_certificate_reloads_total",
                &[("result", "taken")],
            ) > taken
        };
        proxy.metrics_until("the new certificate", more).await;
        let said = s_client(&files, &proxy, &[flag, "-sess_in", &ticket]).await;
        assert!(
            said.contains("Reused, TLS") && said.contains("200 OK"),
            "{said}"
        );
    }
}
