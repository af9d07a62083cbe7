//! Whoever is asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

/// What is answered, by path or by the action that is called, and behind that, where it matters of
/// what, a word of the request's body. A text is answered as it is, anything else as JSON; what is not
/// there is a 404.
pub(crate) type Answers = BTreeMap<String, Value>;

/// A server that knows these, by its URL. It lives as long as the test.
pub(crate) fn server(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (asked, body) = read(BufReader::new(&mut socket));
            let found = answers.iter().find(|(key, _)| {
                let (action, of) = key.split_once(' ').unwrap_or((key, ""));
                action == asked && body.contains(of)
            });
            let (status, answer) = match found {
                Some((_, Value::String(text))) => (200, text.clone()),
                Some((_, answer)) => (200, answer.to_string()),
                None => (404, json!({"message": format!("no {asked}")}).to_string()),
            };
            let length = answer.len();
            let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n");
            socket.write_all((head + &answer).as_bytes()).expect("sent");
        }
    });
    url
}

/// What is asked for, and the body. All of it is read, so that closing does not reset the answer.
fn read(mut from: impl BufRead) -> (String, String) {
    let mut lines = Vec::new();
    let mut line = String::new();
    while from.read_line(&mut line).is_ok_and(|read| read > 2) {
        lines.push(std::mem::take(&mut line));
    }
    let field = |wanted: &str| {
        let mut fields = lines.iter().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let length = field("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).expect("a body");
    let body = String::from_utf8(body).expect("text");
    let path = lines.first().and_then(|line| line.split(' ').nth(1));
    let operation = field("x-amz-target");
    let operation = operation
        .as_deref()
        .and_then(|target| target.rsplit('.').next());
    let action = body
        .strip_prefix("Action=")
        .and_then(|rest| rest.split('&').next());
    let asked = action.or(operation).or(path).unwrap_or_default().to_owned();
    (asked, body)
}
