//! What becomes of fields: those of one hop, and those that tell of the client.

use crate::harness::Proxy;
use crate::harness::wire::request;

use super::{OK, answering, client_of, response};

#[tokio::test]
async fn fields_of_one_hop_stay_on_it() {
    let (agent, mut seen) = answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-secret\r\nx-secret: 1\r\n\
         keep-alive: timeout=3\r\nproxy-connection: keep-alive\r\nx-public: 2\r\n\r\nok",
    );
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let fields = [
        ("connection", "x-private, keep-alive, te"),
        ("x-private", "1"),
        ("x-public", "2"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip, trailers"),
    ];
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    let (head, _) = seen.next().await;
    assert_eq!(head.field("x-public"), Some("2"));
    for private in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(head.field(private), None, "{head:?}");
    }
    assert!(!head.lists("connection", "x-private"), "{head:?}");
    assert!(
        head.all("te").iter().all(|te| *te == "trailers"),
        "{head:?}"
    );
    assert_eq!(answer.field("x-public"), Some("2"));
    for secret in ["x-secret", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.field(secret), None, "{answer:?}");
    }
}

#[tokio::test]
async fn the_operator_chooses_what_becomes_of_forwarded_fields() {
    let ours = "127.0.0.1";
    for (rule, addresses, hosts) in [
        ("append", "203.0.113.7, 127.0.0.1", Some("agent.test")),
        ("replace", ours, Some("agent.test")),
        ("leave", "203.0.113.7", None),
    ] {
        let (agent, mut seen) = answering(OK);
        let rule_toml = format!("\"{rule}\"");
        let proxy = Proxy::http(agent.addr)
            .set("http", "forwarded", &rule_toml)
            .start()
            .await;
        let mut client = client_of(&proxy).await;
        let fields = [
            ("x-forwarded-for", "203.0.113.7"),
            ("forwarded", "for=203.0.113.7"),
        ];
        client
            .send(request("GET", "/", &fields, b""))
            .await
            .unwrap();
        response(&mut client, "GET").await;
        let (head, _) = seen.next().await;
        assert_eq!(head.all("x-forwarded-for").join(", "), addresses, "{rule}");
        assert_eq!(head.field("x-forwarded-host"), hosts, "{rule}");
        assert_eq!(
            head.field("x-forwarded-proto"),
            hosts.map(|_| "http"),
            "{rule}"
        );
        let forwarded = head.all("forwarded").join(", ");
        assert_eq!(
            forwarded.contains("203.0.113.7"),
            rule != "replace",
            "{rule}: {forwarded}"
        );
        assert_eq!(
            forwarded.contains(ours),
            rule != "leave",
            "{rule}: {forwarded}"
        );
        assert_eq!(head.field("host"), Some("agent.test"), "{rule}");
    }
}
