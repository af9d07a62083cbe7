//! An agent behind a unix socket: HTTP, WebSocket and bytes.

use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::client::websocket;
use crate::harness::frames::{CLOSE, Frame, TEXT};
use crate::harness::wire::{End, Wire};
use crate::harness::within;
use crate::upstreams::{endpoint, proxy, until};

fn listen<F>(path: &Path, serve: impl Fn(UnixStream) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
}

fn place() -> (TempDir, std::path::PathBuf, String) {
    let files = TempDir::new().unwrap();
    let path = files.path().join("agent.sock");
    let endpoint = format!("unix:{}", path.display());
    (files, path, endpoint)
}

#[tokio::test]
async fn requests_are_answered_on_a_kept_connection() {
    let (_files, path, at) = place();
    listen(&path, |stream| async move {
        let mut lines = BufReader::new(stream);
        let mut served = 0;
        let mut line = String::new();
        while lines.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            if line == "\r\n" {
                served += 1;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{served}");
                lines.get_mut().write_all(answer.as_bytes()).await.unwrap();
            }
            line.clear();
        }
    });
    let proxy = proxy("http", std::slice::from_ref(&at), "").await;
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    for served in 1..=3 {
        let answer = within(10, "an answer", wire.request("GET", "/", &[], b"")).await;
        assert_eq!(answer.unwrap().text(), served.to_string());
    }
    until(&proxy, &at, "healthy", true).await;
    assert_eq!(endpoint(&proxy, &at).await["sessions"], 0);
}

#[tokio::test]
async fn a_websocket_is_relayed_and_drained() {
    let (_files, path, at) = place();
    listen(&path, |stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(_) = message {
                socket.send(message).await.unwrap();
            }
        }
    });
    let proxy = proxy("http", &[at], "").await;
    let mut client = websocket::open(proxy.addr("web"), "/").await.unwrap();
    for size in [1, 100, 70_000] {
        let frame = Frame::new(TEXT, "x".repeat(size));
        client.send(frame.masked()).await.unwrap();
        let heard = within(10, "an echo", Frame::read(&mut client)).await;
        assert_eq!(heard, Some(frame));
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
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}

#[tokio::test]
async fn bytes_in_bulk_come_back_whole_and_an_end_is_passed_on() {
    let (_files, path, at) = place();
    listen(&path, |stream| async move {
        let (mut from, mut to) = stream.into_split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let proxy = proxy("tcp", &[at], "").await;
    let wire = Wire::connect(proxy.addr("web")).await.unwrap();
    let (mut from, mut to) = wire.stream.into_split();
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    within(30, "all of it", from.read_to_end(&mut heard))
        .await
        .unwrap();
    sending.await.unwrap();
    assert!(heard == expected, "{} bytes", heard.len());
    let undelivered = proxy
        .scrape()
        .await
        .unwrap()
        .sum("lameduck_undelivered_bytes_total", &[]);
    assert_eq!(undelivered, 0.0);
}
