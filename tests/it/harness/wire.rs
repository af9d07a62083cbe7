//! One end of a connection in the raw: exact bytes out, and what came back, told precisely.
//!
//! Both the clients and the scripted agents speak HTTP/1.1 through it, so that a test sees what a
//! library would have mended in silence.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a peer ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order.
    Fin,
    /// With a reset.
    Reset,
}

/// A connection and the bytes that were read ahead on it.
pub struct Wire {
    /// The socket.
    pub stream: TcpStream,
    /// Read and not yet taken.
    pub ahead: Vec<u8>,
    /// How the peer ended, once it has.
    pub end: Option<End>,
}

/// A request's or response's head.
#[derive(Clone, Debug)]
pub struct Head {
    /// The first line.
    pub first: String,
    /// The fields in their order, names in lower case.
    pub fields: Vec<(String, String)>,
}

/// What a body turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The content.
    pub bytes: Vec<u8>,
    /// The trailers, names in lower case.
    pub trailers: Vec<(String, String)>,
    /// Whether it ended as its framing says, rather than with the connection.
    pub whole: bool,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head.
    pub head: Head,
    /// The body.
    pub body: Body,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// Whether the connection ends behind it.
    pub fn is_last(&self) -> bool {
        self.head.lists("connection", "close")
    }
}

impl Head {
    fn parse(text: &str) -> Head {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_lowercase(), value.trim().to_owned())
        });
        Head {
            first,
            fields: fields.collect(),
        }
    }

    /// The value of the first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The values of all fields of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// Whether a comma-separated field lists a token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        let has = |value: &&str| {
            value
                .split(',')
                .any(|t| t.trim().eq_ignore_ascii_case(token))
        };
        self.all(name).iter().any(has)
    }

    /// The status code of a response, 0 of anything else.
    pub fn status(&self) -> u16 {
        let code = self
            .first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5));
        code.and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

impl Wire {
    /// Opens a connection.
    pub async fn connect(to: SocketAddr) -> io::Result<Wire> {
        Ok(Wire::new(TcpStream::connect(to).await?))
    }

    /// Takes over a connection.
    pub fn new(stream: TcpStream) -> Wire {
        let _ = stream.set_nodelay(true);
        Wire {
            stream,
            ahead: Vec::new(),
            end: None,
        }
    }

    /// Writes all of it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Writes pieces, each alone, as long as somebody takes them.
    pub async fn send_each(&mut self, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        for piece in pieces {
            let _ = self.send(piece).await;
            // What reads it has a turn before there is more of it, mostly.
            tokio::task::yield_now().await;
        }
    }

    /// Ends our direction.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Drops the connection with a reset.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// Reads some more; `false` once the peer has ended. Cancel safe.
    pub async fn more(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        match self.stream.read_buf(&mut self.ahead).await {
            Ok(0) => self.end = Some(End::Fin),
            Ok(_) => {}
            Err(_) => self.end = Some(End::Reset),
        }
        self.end.is_none()
    }

    /// Waits for the peer's end and returns what came before it.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        while self.more().await {}
        (std::mem::take(&mut self.ahead), self.end.expect("ended"))
    }

    /// Everything up to and with `mark`; nothing, if the peer ends first. Cancel safe.
    pub async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(mark.len()).position(|w| w == mark) {
                return Some(self.ahead.drain(..at + mark.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Exactly so many bytes; nothing, if the peer ends first. Cancel safe.
    pub async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.ahead.drain(..count).collect())
    }

    /// The next head. Cancel safe.
    pub async fn head(&mut self) -> Option<Head> {
        let text = self.until(b"\r\n\r\n").await?;
        Some(Head::parse(&String::from_utf8_lossy(&text)))
    }

    /// The body of a request with this head.
    pub async fn request_body(&mut self, head: &Head) -> Body {
        let framed = head
            .field("transfer-encoding")
            .or(head.field("content-length"));
        match framed {
            None => Body {
                whole: true,
                ..Body::default()
            },
            Some(_) => self.body(head).await,
        }
    }

    /// A whole request.
    pub async fn next_request(&mut self) -> Option<(Head, Body)> {
        let head = self.head().await?;
        let body = self.request_body(&head).await;
        Some((head, body))
    }

    async fn body(&mut self, head: &Head) -> Body {
        if head.lists("transfer-encoding", "chunked") {
            return self.chunked().await;
        }
        if let Some(length) = head.field("content-length") {
            let length = length.parse().expect("a content length");
            return match self.exactly(length).await {
                Some(bytes) => Body {
                    bytes,
                    whole: true,
                    ..Body::default()
                },
                None => Body {
                    bytes: std::mem::take(&mut self.ahead),
                    ..Body::default()
                },
            };
        }
        let (bytes, end) = self.rest().await;
        Body {
            bytes,
            whole: end == End::Fin,
            ..Body::default()
        }
    }

    async fn chunked(&mut self) -> Body {
        let mut body = Body::default();
        loop {
            let Some(line) = self.until(b"\r\n").await else {
                return body;
            };
            let size = String::from_utf8_lossy(&line);
            let size = size.trim().split(';').next().unwrap_or_default().to_owned();
            let size = usize::from_str_radix(&size, 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            let Some(chunk) = self.exactly(size + 2).await else {
                body.bytes.append(&mut self.ahead);
                return body;
            };
            body.bytes.extend_from_slice(&chunk[..size]);
        }
        while let Some(line) = self.until(b"\r\n").await {
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            let Some((name, value)) = line.split_once(':') else {
                body.whole = true;
                break;
            };
            body.trailers
                .push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
        body
    }

    /// The next response, interim ones skipped. `method` is the request's.
    pub async fn response(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let Some(head) = self.head().await else {
                let kind = match self.end {
                    Some(End::Reset) => ErrorKind::ConnectionReset,
                    _ => ErrorKind::UnexpectedEof,
                };
                let rest = String::from_utf8_lossy(&self.ahead).into_owned();
                return Err(io::Error::new(kind, format!("no response, but {rest:?}")));
            };
            let status = head.status();
            if status / 100 == 1 && status != 101 {
                continue;
            }
            let empty = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let body = match empty {
                true => Body {
                    whole: true,
                    ..Body::default()
                },
                false => self.body(&head).await,
            };
            return Ok(Response { status, head, body });
        }
    }

    /// Sends a request with a `Host` and, if there is a body, a `Content-Length`, and reads the
    /// response; the connection may be used again.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send(request(method, path, fields, body)).await?;
        self.response(method).await
    }

    /// Whether nothing comes, and no end either, for so long.
    pub async fn stays_silent(&mut self, length: Duration) -> bool {
        tokio::time::timeout(length, self.more()).await.is_err()
    }
}

/// Bytes, one by one.
pub fn crumbs(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: agent.test\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
