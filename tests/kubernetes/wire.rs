//! A server that takes one request a connection, over TLS or not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::harness::PATIENCE;

/// A request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A status and a body of JSON.
pub(crate) type Answer = (u16, Value);

/// Serves until the test is over.
pub(crate) fn serve(
    tls: Option<Arc<ServerConfig>>,
    answer: impl Fn(Asked) -> Answer + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("bound");
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (tls, answer) = (tls.clone(), Arc::clone(&answer));
            thread::spawn(move || {
                socket.set_read_timeout(Some(PATIENCE)).expect("set");
                match tls {
                    Some(tls) => {
                        let server = ServerConnection::new(tls).expect("a connection");
                        exchange(StreamOwned::new(server, socket), &*answer);
                    }
                    None => exchange(socket, &*answer),
                }
            });
        }
    });
    addr
}

/// One request and its answer; a client that breaks off is left.
fn exchange(stream: impl Read + Write, answer: &dyn Fn(Asked) -> Answer) {
    let mut stream = BufReader::new(stream);
    let Some(asked) = read(&mut stream) else {
        return;
    };
    let (status, body) = answer(asked);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let stream = stream.get_mut();
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    let _ = stream.flush();
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        let read = stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut fields = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        fields.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked {
        method,
        path,
        fields,
        body: Value::Null,
    };
    let length = asked.field("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    Some(asked)
}
