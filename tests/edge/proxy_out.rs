//! The PROXY protocol to the agent: whose a connection is, told by hand and by HAProxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::harness::agent::Agent;
use crate::harness::wire::{Wire, request};
use crate::harness::{Proxy, within};
use crate::peer::haproxy;
use crate::scene::{all_refused, mirror};

const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.0/8\"]";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// An agent that keeps what each connection began with, and answers one request or line on it.
fn listens() -> (Agent, Arc<Mutex<Vec<Vec<u8>>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&seen);
    let agent = Agent::scripted(move |_, mut wire| {
        let keeps = Arc::clone(&keeps);
        async move {
            let header = match wire.exactly(12).await {
                Some(start) if start == SIGNATURE => {
                    let fixed = wire.exactly(4).await.unwrap();
                    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
                    let rest = wire.exactly(length).await.unwrap();
                    [start, fixed, rest].concat()
                }
                Some(start) => [start, wire.until(b"\r\n").await.unwrap()].concat(),
                None => return,
            };
            keeps.lock().unwrap().push(header);
            while let Some(first) = wire.until(b"\n").await {
                if first.starts_with(b"GET") {
                    wire.until(b"\r\n\r\n").await;
                    let _ = wire
                        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await;
                } else {
                    let _ = wire.send(first).await;
                }
            }
        }
    });
    (agent, seen)
}

/// A proxy before an agent that is told in this version.
async fn telling(protocol: &str, agent: SocketAddr, version: &str, listener: &str) -> Proxy {
    let text = format!(
        "workers = 2\n[[listener]]\nname = \"door\"\nbind = \"127.0.0.1:0\"\n\
         protocol = \"{protocol}\"\nupstream = \"agent\"\n{listener}\n\
         [upstream.agent]\nendpoints = [\"{agent}\"]\nproxy_protocol = \"{version}\"\n"
    );
    Proxy::builder().configuration(&text).start().await
}

/// What was seen but for the headers of probes, which are nobody's.
fn of_clients(seen: &Mutex<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let seen = seen.lock().unwrap();
    let nobodys =
        |header: &[u8]| header.starts_with(b"PROXY UNKNOWN") || header.get(12) == Some(&0x20);
    seen.iter()
        .filter(|header| !nobodys(header))
        .cloned()
        .collect()
}

#[tokio::test]
async fn each_client_has_connections_of_its_own_that_begin_with_its_address() {
    for version in ["v1", "v2"] {
        let (agent, seen) = listens();
        let proxy = telling("http", agent.addr, version, "").await;
        let door = proxy.addr("door");
        // Before any client comes, the agent is probed, and told that the connection is nobody's.
        let probed = async {
            let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
            while seen.lock().unwrap().is_empty() {
                pace.tick().await;
            }
        };
        within(10, "a probe", probed).await;
        assert!(of_clients(&seen).is_empty(), "a probe says that it is one");
        let mut one = Wire::connect(door).await.unwrap();
        let mut two = Wire::connect(door).await.unwrap();
        let ports = [&one, &two].map(|wire| wire.stream.local_addr().unwrap().port());
        for wire in [&mut one, &mut two] {
            for _ in 0..3 {
                let answer = wire.request("GET", "/", &[], b"").await.unwrap();
                assert_eq!(answer.status, 200);
            }
        }
        let headers = of_clients(&seen);
        for port in ports {
            let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n", door.port());
            let mut start = [SIGNATURE, b"\x21\x11\x00\x13\x7f\0\0\x01\x7f\0\0\x01"].concat();
            start.extend(port.to_be_bytes());
            start.extend(door.port().to_be_bytes());
            let wanted = if version == "v1" {
                line.as_bytes()
            } else {
                &start
            };
            let its = headers.iter().filter(|header| header.starts_with(wanted));
            assert!(its.count() >= 1, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn what_came_in_goes_out_with_its_vpc_endpoint() {
    let (agent, seen) = listens();
    let proxy = telling("tcp", agent.addr, "v2", REQUIRED).await;
    let mut header = [SIGNATURE, b"\x21\x11\x00\x17"].concat();
    header.extend([203, 0, 113, 7, 198, 51, 100, 2, 0x12, 0x67, 1, 0xbb]);
    header.extend(b"\xea\x00\x08\x01vpce-1x");
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    wire.send([&header[..], b"hello\n"].concat()).await.unwrap();
    assert_eq!(
        within(10, "the echo", wire.until(b"\n")).await.unwrap(),
        b"hello\n"
    );
    let headers = of_clients(&seen);
    assert_eq!(headers.len(), 1);
    let told = &headers[0];
    assert_eq!(told[16..28], header[16..28], "the addresses");
    assert!(
        told.windows(11).any(|w| w == b"\xea\x00\x08\x01vpce-1x"),
        "{told:?}"
    );
    assert_eq!(told[28..31], *b"\x03\0\x04", "the checksum");
}

#[tokio::test]
async fn haproxy_takes_the_header() {
    for version in ["v1", "v2"] {
        let agent = mirror();
        let server = agent.addr.to_string();
        let Some(haproxy) = haproxy(&server, " accept-proxy", "mode http\n  option forwardfor")
        else {
            return;
        };
        drop(haproxy.connect().await);
        let proxy = telling("http", haproxy.addr, version, REQUIRED).await;
        let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
        let line = b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\r\n";
        wire.send([&line[..], &request("GET", "/", &[], b"")].concat())
            .await
            .unwrap();
        let answer = within(10, "an answer", wire.response("GET")).await.unwrap();
        // Once from us, once from HAProxy, which knows it by the header alone.
        let shown = answer.text().matches(": 203.0.113.7").count();
        assert!(shown >= 2, "{version}: {}", answer.text());
        assert_eq!(all_refused(&proxy.scrape().await.unwrap()), 0.0);
    }
}
