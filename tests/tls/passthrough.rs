//! TLS that is passed through: the agent ends it, and the server name says which agent.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::between::behind;
use crate::harness::agent::http::HttpAgent;
use crate::harness::metrics::Scrape;
use crate::harness::{Proxy, within};
use crate::openssl::s_client_with;
use crate::scene::Files;

fn refused(scrape: &Scrape) -> f64 {
    let why = [("reason", "tls_handshake")];
    scrape.sum("lameduck_sessions_refused_total", &why)
}

#[tokio::test]
async fn the_server_name_says_where_it_goes() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let [own, other] = ["own.example", "other.example"].map(|name| {
        let pair = files.authority.pair(&[name]);
        behind(agent.agent.addr, files.authority.server(&pair, false))
    });
    let proxy = Proxy::builder()
        .listener("web", "tls-passthrough", own.addr)
        .set(
            "upstream.other",
            "endpoints",
            &format!("[\"{}\"]", other.addr),
        )
        .set("[listener.route]", "host", "\"other.example\"")
        .set("[listener.route]", "upstream", "\"other\"")
        .brief_lame_duck()
        .start()
        .await;
    for (asked, shown) in [
        ("own.example", "own.example"),
        ("other.example", "other.example"),
        ("OTHER.example", "other.example"),
        ("third.example", "own.example"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = [version, "-servername", asked, "-verify_hostname", shown];
            let said = s_client_with(&files, &proxy, &arguments).await;
            for words in ["Verify return code: 0 (ok)", "HTTP/1.1 200 OK"] {
                assert!(said.contains(words), "{asked}: no {words:?} in:\n{said}");
            }
        }
    }
    // What is no TLS is turned away and counted; a probe is nothing.
    drop(TcpStream::connect(proxy.addr("web")).await.unwrap());
    let mut rude = TcpStream::connect(proxy.addr("web")).await.unwrap();
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let scrape = proxy
        .metrics_until("the refusal", |scrape| refused(scrape) == 1.0)
        .await;
    assert_eq!(scrape.sum("lameduck_sessions_refused_total", &[]), 1.0);
    proxy.terminate();
    assert_eq!(
        within(20, "the end", proxy.exit_within(20)).await.code,
        Some(0)
    );
}
