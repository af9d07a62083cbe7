//! TLS to the agent.

use crate::between::behind;
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::authority::Authority;
use crate::harness::client::websocket;
use crate::harness::frames::{CLOSE, Frame, TEXT};
use crate::harness::ledger::message;
use crate::harness::proxy::Builder;
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, within};
use crate::scene::Files;

const HTTP: &str = "upstream.web-agent.tls";
const TCP: &str = "upstream.raw-agent.tls";

/// The agent is called `localhost` here, though its endpoint is an address.
fn trusting(files: &Files, proxy: Builder, table: &str) -> Builder {
    let proxy = proxy.brief_lame_duck();
    let proxy = proxy.set(table, "ca_file", &files.toml("ca.pem"));
    proxy.set(table, "server_name", "\"localhost\"")
}

async fn get(proxy: &Proxy, path: &str) -> u16 {
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    let answer = within(20, "an answer", wire.request("GET", path, &[], b"")).await;
    answer.unwrap().status
}

#[tokio::test]
async fn requests_go_over_it_and_connections_are_used_again() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let secure = behind(agent.agent.addr, files.authority.server(&files.pair, false));
    let proxy = trusting(&files, Proxy::http(secure.addr), HTTP)
        .start()
        .await;
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    let body = vec![b'x'; 300_000];
    for _ in 0..5 {
        let answer = wire.request("POST", "/echo", &[], &body);
        let answer = within(20, "an echo", answer).await.unwrap();
        assert_eq!((answer.status, answer.body.bytes.len()), (200, body.len()));
    }
}

#[tokio::test]
async fn a_websocket_over_it_is_drained() {
    let files = Files::new();
    let agent = WebSocketAgent::start();
    let secure = behind(agent.agent.addr, files.authority.server(&files.pair, false));
    let proxy = trusting(&files, Proxy::http(secure.addr), HTTP);
    let proxy = files.with_certificate(proxy).window("20s").start().await;
    let tls = files
        .authority
        .client(crate::harness::authority::ONLY_13, None);
    let front = crate::between::before(proxy.addr("web"), tls, crate::between::Pieces::Whole);
    let mut client = websocket::open(front.addr, "/echo/anna").await.unwrap();
    for number in 0..20 {
        client
            .send(Frame::new(TEXT, message(number)).masked())
            .await
            .unwrap();
        let heard = within(10, "an echo", Frame::read(&mut client))
            .await
            .unwrap();
        assert_eq!(heard.payload, message(number).into_bytes());
    }
    proxy.terminate();
    let close = within(20, "a Close", Frame::read(&mut client))
        .await
        .unwrap();
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(1012)));
    client.send(Frame::close(1012).masked()).await.unwrap();
    assert_eq!(
        within(10, "the end", client.rest()).await,
        (vec![], End::Fin)
    );
    client.finish().await;
    let side = within(10, "the agent's end", agent.ledger.side("anna")).await;
    assert_eq!(side.close.map(|close| close.code), Some(1012));
    assert_eq!((side.end, side.received.len()), (Some(End::Fin), 20));
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
    assert_eq!(
        proxy.report()["kinds"]["websocket"]["outcomes"]["closed"],
        1
    );
}

#[tokio::test]
async fn raw_bytes_go_over_it() {
    let files = Files::new();
    let agent = TcpAgent::start();
    let secure = behind(agent.agent.addr, files.authority.server(&files.pair, false));
    let proxy = trusting(&files, Proxy::tcp(secure.addr), TCP).start().await;
    let mut client = Wire::connect(proxy.addr("raw")).await.unwrap();
    client.send("/echo/anna\n00000000 a\n").await.unwrap();
    let line = within(10, "an echo", client.until(b"\n")).await;
    assert_eq!(line.as_deref(), Some(&b"00000000 a\n"[..]));
    client.finish().await;
    assert_eq!(
        within(10, "the end", client.rest()).await,
        (vec![], End::Fin)
    );
    let side = within(10, "the agent's end", agent.ledger.side("anna")).await;
    assert_eq!(side.end, Some(End::Fin));
}

#[tokio::test]
async fn an_agent_that_nobody_vouches_for_is_not_spoken_to() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let other = Authority::new("Somebody else").pair(&["localhost"]);
    let misnamed = files.authority.pair(&["other.example"]);
    for pair in [&other, &misnamed] {
        let secure = behind(agent.agent.addr, files.authority.server(pair, false));
        let proxy = trusting(&files, Proxy::http(secure.addr), HTTP)
            .start()
            .await;
        assert_eq!(get(&proxy, "/").await, 502);
    }
    // One that speaks no TLS, and one that says nothing.
    let proxy = trusting(&files, Proxy::http(agent.agent.addr), HTTP)
        .start()
        .await;
    assert_eq!(get(&proxy, "/").await, 502);
    let silent = crate::harness::agent::Agent::scripted(|_, mut wire| async move {
        wire.rest().await;
    });
    let proxy =
        Proxy::builder().listener_with("web", "http", silent.addr, "connect_timeout = \"300ms\"");
    let proxy = trusting(&files, proxy, HTTP).start().await;
    assert_eq!(get(&proxy, "/").await, 504);
    assert_eq!(agent.requests().len(), 0);
}

#[tokio::test]
async fn the_agent_may_ask_who_comes() {
    let files = Files::new();
    let agent = HttpAgent::start();
    let secure = behind(agent.agent.addr, files.authority.server(&files.pair, true));
    files
        .authority
        .pair(&[])
        .write(files.folder.path(), "proxy");
    let proxy = trusting(&files, Proxy::http(secure.addr), HTTP)
        .set(HTTP, "certificate_file", &files.toml("proxy.crt"))
        .set(HTTP, "key_file", &files.toml("proxy.key"));
    let proxy = proxy.start().await;
    assert_eq!(get(&proxy, "/").await, 200);
    let proxy = trusting(&files, Proxy::http(secure.addr), HTTP)
        .start()
        .await;
    assert_eq!(get(&proxy, "/").await, 502);
}
