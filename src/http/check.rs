//! Asks an endpoint how it is.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::config::{Check, CheckKind};
use crate::net::{Address, Dialled, Endpoints, Member, Socket};

/// The most of an answer that is read for its status line.
const STATUS_LINE: usize = 256;
/// A Close with 1000, masked with zeroes (RFC 6455 5.2 and 5.5.1).
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
/// How long the agent has for its own Close.
const GOODBYE: Duration = Duration::from_millis(500);

/// Asks one endpoint how it is, and notes the answer.
pub async fn ask(endpoints: &Endpoints, member: &Member) {
    let Some(check) = endpoints.check() else {
        return;
    };
    let answer = match timeout(check.timeout, answer(endpoints, check, member)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer to the check within {:?}", check.timeout)),
    };
    let (answer, open) = match answer {
        Ok(open) => (Ok(()), open),
        Err(error) => (Err(error), None),
    };
    endpoints.note_check(member, answer);
    if let Some(mut socket) = open {
        // The handshake was the answer; an agent that does not say goodbye is none the worse.
        let _ = timeout(GOODBYE, say_goodbye(&mut socket)).await;
    }
}

/// Asks; what is given back is a WebSocket that is to be closed.
async fn answer(
    endpoints: &Endpoints,
    check: &Check,
    member: &Member,
) -> Result<Option<Socket>, String> {
    let mut socket = endpoints
        .connect(member, None)
        .await
        .and_then(Dialled::watched)
        .map_err(|error| error.to_string())?;
    let host = match member.address() {
        Address::Tcp(addr) => addr.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let path = &check.path;
    let upgrade = match check.kind {
        CheckKind::Tcp => return Ok(None),
        CheckKind::Http => "connection: close\r\n",
        // The key of RFC 6455 1.3: what comes back is not looked at.
        CheckKind::Websocket => {
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    };
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: lameduck\r\n{upgrade}\r\n");
    let written = socket.write_all(head.as_bytes()).await;
    written.map_err(|error| error.to_string())?;
    let status = status(&mut socket).await?;
    match (check.kind, status) {
        (CheckKind::Websocket, 101) => Ok(Some(socket)),
        (CheckKind::Http, 200..=399) => Ok(None),
        (_, status) => Err(format!("the check was answered with {status}")),
    }
}

async fn say_goodbye(socket: &mut Socket) -> std::io::Result<()> {
    socket.write_all(&CLOSE).await?;
    let mut waste = [0; 1024];
    while socket.read(&mut waste).await? > 0 {}
    Ok(())
}

/// The status code of an answer (RFC 9112 4).
async fn status(socket: &mut Socket) -> Result<u16, String> {
    let mut line = Vec::with_capacity(STATUS_LINE);
    while line.len() < STATUS_LINE {
        let mut piece = [0; STATUS_LINE];
        let n = socket.read(&mut piece).await;
        let n = n.map_err(|error| error.to_string())?;
        line.extend_from_slice(&piece[..n]);
        if n == 0 || line.contains(&b'\n') {
            break;
        }
    }
    let text = String::from_utf8_lossy(&line);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().and_then(|code| code.parse().ok());
    match code {
        Some(code) if version.starts_with("HTTP/1.") => Ok(code),
        _ => Err("the check was not answered in HTTP".to_owned()),
    }
}
