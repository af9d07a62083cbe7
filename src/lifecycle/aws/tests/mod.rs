//! Calls against a listener that answers as it is told.

mod calls;
mod keys;

use std::cell::RefCell;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::api::Api;
use super::autoscaling::{self, Named};
use super::environment::Environment;
use super::queue;
use crate::admin::Board;
use crate::config::{PlatformName, Window};
use crate::drain::{self, Windows};
use crate::lifecycle::desk::{Desk, Desks};
use crate::session::{Holds, Ledgers, PhaseView};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came: its first line and fields in small letters, and its body.
#[derive(Clone, Debug)]
struct Asked {
    head: String,
    body: String,
}

impl Asked {
    fn says(&self, words: &str) -> bool {
        self.head.contains(words) || self.body.contains(words)
    }
}

/// An answer: its status, a date of its own if it has one, and its body.
struct Answer(u16, Option<&'static str>, String);

fn answer(status: u16, body: impl Into<String>) -> Option<Answer> {
    Some(Answer(status, None, body.into()))
}

fn refusal(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    )
}

const MEMBER: &str = "<A><R><AutoScalingInstances><member><InstanceId>i-1</InstanceId>\
    <AutoScalingGroupName>bots</AutoScalingGroupName><LifecycleState>InService</LifecycleState>\
    </member></AutoScalingInstances></R></A>";

async fn read(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let body = body.to_owned();
                return Some(Asked { head, body });
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Runs a client against a listener that answers by `how`, or not at all where that gives nothing;
/// gives what was asked.
async fn against<T>(
    how: impl Fn(&Asked, usize) -> Option<Answer>,
    client: impl AsyncFnOnce(String) -> T,
) -> (T, Vec<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: RefCell<Vec<Asked>> = RefCell::default();
    let serve = async {
        // Kept, so that who gets no answer waits for one.
        let mut silent = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let Some(one) = read(&mut socket).await else {
                continue;
            };
            let nth = asked.borrow().len();
            let answer = how(&one, nth);
            asked.borrow_mut().push(one);
            let Some(Answer(status, date, body)) = answer else {
                silent.push(socket);
                continue;
            };
            let date = date
                .map(|date| format!("date: {date}\r\n"))
                .unwrap_or_default();
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} X\r\n{date}content-length: {length}\r\n\r\n{body}");
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    };
    let done = tokio::select! {
        done = timeout(PATIENCE, client(url)) => done.unwrap(),
        () = serve => unreachable!(),
    };
    (done, asked.into_inner())
}

fn desk(board: &Board) -> Desk {
    let desks = Desks {
        control: drain::channel().0,
        phase: watch::channel(PhaseView::starting()).1,
        reports: watch::channel(None).1,
        windows: Windows::new(Window::of(PATIENCE)),
        ledgers: Ledgers::new(Vec::new()),
        holds: Holds::new(),
        board: board.clone(),
    };
    Desk::new(PlatformName::Aws, &desks, None)
}

fn api(url: &str, more: &[(&str, &str)]) -> (Api, Board) {
    let mut variables = vec![
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", url),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url),
    ];
    variables.extend(more);
    let board = Board::default();
    (Api::new(&desk(&board), Environment::of(&variables)), board)
}

const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIDENV"),
    ("AWS_SECRET_ACCESS_KEY", "hush"),
    ("AWS_SESSION_TOKEN", "session"),
];

fn calls(board: &Board) -> Vec<(&'static str, &'static str, u64)> {
    let known = board.now().remove(&PlatformName::Aws).unwrap_or_default();
    let calls = known.calls.iter();
    calls
        .map(|((call, result), count)| (*call, *result, *count))
        .collect()
}

/// Credentials as an agent gives them, the n-th of them, good for so long.
fn credentials(nth: usize, good_for: u64) -> String {
    let expires = std::time::SystemTime::now() + Duration::from_secs(good_for);
    let expires = humantime::format_rfc3339_seconds(expires);
    format!(
        r#"{{"AccessKeyId":"AKID{nth}","SecretAccessKey":"hush","Token":"t","Expiration":"{expires}"}}"#
    )
}
