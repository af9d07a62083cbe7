//! `lameduck healthcheck`: one question over HTTP, for images that have neither shell nor curl.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use http::Uri;

use super::args::HealthcheckArgs;
use super::exit;

/// The whole question takes no longer. Docker's own timeout is 30 s by default; health that is
/// slower than this is none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks, and answers with the exit code.
pub(super) fn healthcheck(args: &HealthcheckArgs) -> u8 {
    match ask(&args.url, Instant::now() + TIMEOUT) {
        Ok(200) => exit::OK,
        Ok(status) => {
            eprintln!("error: {} answered {status}, not 200", args.url);
            exit::FAILED
        }
        Err(error) => {
            eprintln!("error: {} does not answer: {error}", args.url);
            exit::FAILED
        }
    }
}

/// The status of the answer to a GET.
fn ask(url: &Uri, deadline: Instant) -> io::Result<u16> {
    let wrong = |why| io::Error::new(ErrorKind::InvalidInput, why);
    if url.scheme_str() != Some("http") {
        return Err(wrong("write the url as http://ADDRESS:PORT/PATH"));
    }
    let authority = url
        .authority()
        .ok_or_else(|| wrong("the url has no address"))?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let mut stream = connect(host, authority.port_u16().unwrap_or(80), deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let status = status(&mut stream, deadline)?;
    read_out(&mut stream, deadline);
    Ok(status)
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads as much of the answer as says its status: `HTTP/1.1 200` (RFC 9112, section 4).
fn status(stream: &mut TcpStream, deadline: Instant) -> io::Result<u16> {
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut head[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [version @ .., hundreds, tens, ones] = head;
    let code = std::str::from_utf8(&[hundreds, tens, ones])
        .ok()
        .and_then(|code| code.parse().ok());
    match code {
        Some(code) if version.starts_with(b"HTTP/1.") => Ok(code),
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "what answers there is not HTTP/1",
        )),
    }
}

/// Reads what is left of the answer: a socket that is closed with bytes unread resets its peer,
/// which would then find an error in its log for every question. How that goes changes nothing.
fn read_out(stream: &mut TcpStream, deadline: Instant) {
    let mut scratch = [0; 1024];
    while let Ok(left) = left(deadline) {
        match stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.read(&mut scratch))
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The time until the deadline, which sockets take only if it is above zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is made of a server that answers with these bytes and hangs up.
    fn asked(answer: &'static [u8]) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.push(byte[0]);
            }
            // In two pieces, since nothing says that a status arrives in one.
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first).expect("sent");
            stream.write_all(second).expect("sent");
            String::from_utf8(request).expect("text")
        });
        let url: Uri = format!("http://127.0.0.1:{port}/livez")
            .parse()
            .expect("legal");
        let status = ask(&url, Instant::now() + TIMEOUT);
        let request = server.join().expect("served");
        assert!(
            request.starts_with("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
        status
    }

    #[test]
    fn the_status_is_what_counts() {
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\n\r\n").expect("answered"), 200);
        assert_eq!(
            asked(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").expect("answered"),
            503
        );
    }

    #[test]
    fn what_is_not_http_is_no_answer() {
        assert_eq!(
            asked(b"220 mail.example.org").expect_err("mail").kind(),
            ErrorKind::InvalidData
        );
        assert_eq!(
            asked(b"HTTP/1.1").expect_err("short").kind(),
            ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn silence_ends_with_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = ask(&url.parse().expect("legal"), deadline).expect_err("silence");
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error:?}"
        );
    }

    #[test]
    fn only_plain_http_is_asked() {
        let url = Uri::from_static("https://127.0.0.1/livez");
        let error = ask(&url, Instant::now() + TIMEOUT).expect_err("https");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
