//! The PROXY protocol before HTTP and before raw bytes, by HAProxy and by hand.

use std::time::{Duration, Instant};

use crate::harness::agent::Agent;
use crate::harness::wire::{End, Wire, request};
use crate::harness::{Proxy, within};
use crate::peer::haproxy;
use crate::scene::{all_refused, echo, mirror, proxy, refused};

const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.0/8\"]";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A header of version 2 of 203.0.113.7:4711 with this behind its addresses.
fn binary(tlvs: &[u8]) -> Vec<u8> {
    let length = u16::try_from(12 + tlvs.len()).unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(length.to_be_bytes());
    header.extend([203, 0, 113, 7, 198, 51, 100, 2, 0x12, 0x67, 1, 0xbb]);
    header.extend(tlvs);
    header
}

/// What the agent was told of the client of a request that is sent behind this.
async fn client_behind(proxy: &Proxy, header: &[u8]) -> String {
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    let bytes = [header, &request("GET", "/", &[], b"")].concat();
    wire.send(bytes).await.unwrap();
    let response = within(10, "an answer", wire.response("GET")).await.unwrap();
    assert_eq!(response.status, 200);
    let text = response.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_client_is_whom_the_header_names() {
    let agent = mirror();
    let proxy = proxy("http", agent.addr, REQUIRED, "").await;
    for (header, client) in [
        (LINE.to_vec(), "203.0.113.7"),
        (binary(b""), "203.0.113.7"),
        (binary(b"\xea\0\x05\x01vpce"), "203.0.113.7"),
        (LOCAL.to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        assert_eq!(client_behind(&proxy, &header).await, client, "{header:?}");
    }
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(all_refused(&scrape), 0.0);
    scrape.check_balance().unwrap();
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte_and_the_rest_is_the_sessions() {
    let agent = echo();
    let proxy = proxy("tcp", agent.addr, REQUIRED, "").await;
    for header in [LINE.to_vec(), binary(b"\x04\0\x03abc"), LOCAL.to_vec()] {
        let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
        for byte in &header {
            wire.send([*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        wire.send("hello\n").await.unwrap();
        let came = within(10, "the echo", wire.until(b"\n")).await.unwrap();
        assert_eq!(came, b"hello\n");
        // And all at once, with the end of the stream behind it.
        let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
        wire.send([&header[..], b"PROXY hello\n"].concat())
            .await
            .unwrap();
        wire.finish().await;
        let (came, end) = within(10, "the echo", wire.rest()).await;
        assert_eq!((&came[..], end), (&b"PROXY hello\n"[..], End::Fin));
    }
    let scrape = proxy
        .metrics_until("all to end", |s| s.open("") == 0.0)
        .await;
    scrape.check_balance().unwrap();
    assert_eq!(all_refused(&scrape), 0.0);
}

/// Whether a connection that begins so is closed without a byte.
async fn is_closed(proxy: &Proxy, bytes: &[u8]) -> bool {
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    let _ = wire.send(bytes).await;
    let (came, _) = within(10, "the end", wire.rest()).await;
    came.is_empty()
}

#[tokio::test]
async fn what_is_no_header_ends_the_connection_and_is_counted() {
    let agent = mirror();
    let listener = format!("{REQUIRED}\nproxy_timeout = \"300ms\"");
    let proxy = proxy("http", agent.addr, &listener, "").await;
    // A wrong checksum, a wrong length, garbage, a header that never ends, and none.
    let wrong = binary(b"\x03\0\x04\0\0\0\0");
    let broken = binary(b"\x03\0\x09\0");
    let garbage = b"\x16\x03\x01\x02\0".to_vec();
    let plain = request("GET", "/", &[], b"");
    let half = LINE[..20].to_vec();
    for (n, bytes) in [wrong, broken, garbage, plain, half, b"".to_vec()]
        .iter()
        .enumerate()
    {
        assert!(is_closed(&proxy, bytes).await, "{bytes:?}");
        let count = (n + 1) as f64;
        proxy
            .metrics_until("the refusal", |s| refused(s, "proxy_header") == count)
            .await;
    }
    // A probe is nobody's loss.
    for _ in 0..5 {
        drop(Wire::connect(proxy.addr("door")).await.unwrap());
    }
    let scrape = proxy
        .metrics_until("the probes to go", |s| {
            s.sum("lameduck_connections_open", &[]) == 0.0
                && s.sum("lameduck_connections_accepted_total", &[]) == 11.0
        })
        .await;
    assert_eq!(
        (refused(&scrape, "proxy_header"), all_refused(&scrape)),
        (6.0, 6.0)
    );
    assert_eq!(scrape.sum("lameduck_sessions_opened_total", &[]), 0.0);
}

#[tokio::test]
async fn who_is_not_trusted_is_not_listened_to() {
    let agent = mirror();
    let listener = "proxy_protocol = \"required\"\nproxy_trusted = [\"10.0.0.0/8\", \"fd00::/8\"]";
    let proxy = proxy("http", agent.addr, listener, "").await;
    assert!(is_closed(&proxy, LINE).await);
    let all = [LINE, &request("GET", "/", &[], b"")].concat();
    assert!(is_closed(&proxy, &all).await);
    let scrape = proxy
        .metrics_until("both refusals", |s| refused(s, "proxy_untrusted") == 2.0)
        .await;
    assert_eq!(all_refused(&scrape), 2.0);
}

#[tokio::test]
async fn haproxy_says_whose_a_connection_is() {
    let agent: Agent = mirror();
    let proxy = proxy("http", agent.addr, REQUIRED, "").await;
    let door = proxy.addr("door");
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        // Its health checks have no client: LOCAL, or UNKNOWN.
        "send-proxy-v2 check inter 100ms",
        "send-proxy check inter 100ms",
    ] {
        let Some(haproxy) = haproxy(&format!("{door} {send}"), "", "") else {
            return;
        };
        let mut wire = haproxy.connect().await;
        let response = wire.request("GET", "/", &[], b"").await.unwrap();
        assert_eq!(response.status, 200, "{send}");
        let shown = response.text();
        assert!(shown.contains("x-forwarded-for: 127.0.0.1"), "{shown}");
    }
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(all_refused(&scrape), 0.0);
}

/// Who comes again and again would keep the core from the others: the least that it takes is no matter of speed.
#[tokio::test]
async fn who_is_refused_is_closed_after_a_while() {
    let agent = mirror();
    let untrusting = "proxy_protocol = \"required\"\nproxy_trusted = [\"10.0.0.0/8\"]";
    for (listener, bytes) in [(untrusting, LINE), (REQUIRED, b"PROXY TCP5 x\r\n")] {
        let proxy = proxy("http", agent.addr, listener, "").await;
        let begun = Instant::now();
        assert!(is_closed(&proxy, bytes).await);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(50), "{took:?}");
    }
}
