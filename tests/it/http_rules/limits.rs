//! Limits on heads and on the time they take.

use std::time::Duration;

use crate::harness::wire::End;
use crate::harness::{Proxy, within};

use super::{OK, answering, client_of, response};

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_with_431() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "max_header_bytes", "\"16KiB\"")
        .set("http", "max_headers", "40")
        .start()
        .await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let many: String = (0..60).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    for head in [long, many] {
        let mut client = client_of(&proxy).await;
        // It may be refused before all of it is out.
        let _ = client.send(&head).await;
        assert_eq!(response(&mut client, "GET").await.status, 431);
        within(10, "the end", client.rest()).await;
    }
    assert!(seen.nothing(), "the agent saw one");
    let few: String = (0..30)
        .map(|n| format!("x-{n}: {}\r\n", "x".repeat(300)))
        .collect();
    let mut client = client_of(&proxy).await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{few}\r\n"))
        .await
        .unwrap();
    assert_eq!(
        response(&mut client, "GET").await.status,
        200,
        "within the limits"
    );
}

#[tokio::test]
async fn a_slow_head_ends_with_the_header_timeout() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "header_timeout", "\"500ms\"")
        .start()
        .await;
    for sent in ["", "GET / HTT", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut client = client_of(&proxy).await;
        client.send(sent).await.unwrap();
        let (heard, end) = within(5, "the end", client.rest()).await;
        let heard = String::from_utf8_lossy(&heard);
        assert_eq!(end, End::Fin, "{sent:?}");
        match sent {
            "" => assert_eq!(heard, "", "a silent connection just ends"),
            _ => assert!(heard.starts_with("HTTP/1.1 408 "), "{sent:?}: {heard:?}"),
        }
    }
    assert!(seen.nothing());
}

#[tokio::test]
async fn a_kept_connection_outlives_the_header_timeout() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "header_timeout", "\"300ms\"")
        .set("http", "idle_timeout", "\"1500ms\"")
        .set("http", "health_path", "\"/alive\"")
        .start()
        .await;
    // What the agent answers, and what the proxy answers by itself.
    for path in ["/", "/alive"] {
        let mut client = client_of(&proxy).await;
        for _ in 0..2 {
            let answer = client.request("GET", path, &[], b"").await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            let is_left = client.stays_silent(Duration::from_millis(800)).await;
            assert!(is_left, "{path}: closed too early");
        }
        let end = within(5, "the idle timeout", client.rest()).await;
        assert_eq!(end, (vec![], End::Fin), "{path}");
    }
}
