//! Calls against a listener that answers as it is told.

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

#[tokio::test]
async fn a_call_is_signed_and_its_answer_read() {
    let (member, asked) = against(
        |_, _| answer(200, MEMBER),
        async |url| autoscaling::member(&api(&url, &KEYS).0, "i-1").await,
    )
    .await;
    assert_eq!(member.unwrap().unwrap().group, "bots");
    let [asked] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(
        asked.body,
        "Action=DescribeAutoScalingInstances&Version=2011-01-01&InstanceIds.member.1=i-1"
    );
    for words in [
        "post / http/1.1",
        "content-type: application/x-www-form-urlencoded; charset=utf-8",
        "authorization: aws4-hmac-sha256 credential=akidenv/",
        "/eu-west-1/autoscaling/aws4_request",
        "signedheaders=content-type;host;x-amz-date;x-amz-security-token",
        "x-amz-security-token: session",
    ] {
        assert!(asked.says(words), "{words} is not in {}", asked.head);
    }
    assert!(!asked.says("hush"));
}

#[tokio::test]
async fn the_queue_is_spoken_to_in_json() {
    let queue = "https://sqs.eu-west-1.amazonaws.com/1/leaving";
    let messages = r#"{"Messages":[{"ReceiptHandle":"r","Body":"b"}]}"#;
    let (received, asked) = against(
        |asked, _| {
            answer(
                200,
                if asked.says("receivemessage") {
                    messages
                } else {
                    ""
                },
            )
        },
        async |url| {
            let api = api(&url, &KEYS).0;
            let received = queue::receive(&api, queue).await.unwrap();
            queue::give_back(&api, queue, &received[0].receipt)
                .await
                .unwrap();
            queue::delete(&api, queue, &received[0].receipt)
                .await
                .unwrap();
            received
        },
    )
    .await;
    assert_eq!(received[0].body, "b");
    let operations = ["receivemessage", "changemessagevisibility", "deletemessage"];
    for (asked, operation) in asked.iter().zip(operations) {
        assert!(
            asked.says(&format!("x-amz-target: amazonsqs.{operation}")),
            "{asked:?}"
        );
        assert!(
            asked.says("/eu-west-1/sqs/aws4_request") && asked.says(queue),
            "{asked:?}"
        );
    }
    assert_eq!(asked.len(), 3);
    assert!(asked[1].says(r#""VisibilityTimeout":0"#), "{:?}", asked[1]);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_counted() {
    let (calls, asked) = against(
        |_, nth| match nth {
            0 => answer(400, refusal("Throttling", "Rate exceeded")),
            1 => answer(503, "<html>busy</html>"),
            _ => answer(200, MEMBER),
        },
        async |url| {
            let (api, board) = api(&url, &KEYS);
            autoscaling::member(&api, "i-1").await.unwrap();
            calls(&board)
        },
    )
    .await;
    let name = "DescribeAutoScalingInstances";
    assert_eq!(
        calls,
        [(name, "ok", 1), (name, "server", 1), (name, "throttled", 1)]
    );
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    let (fault, asked) = against(
        |_, _| answer(403, refusal("AccessDenied", "not you")),
        async |url| {
            autoscaling::member(&api(&url, &KEYS).0, "i-1")
                .await
                .unwrap_err()
        },
    )
    .await;
    assert_eq!(fault.to_string(), "AccessDenied: not you (HTTP 403)");
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn an_action_that_is_over_is_no_failure_of_the_platform() {
    let over = refusal(
        "ValidationError",
        "No active Lifecycle Action found with instance ID i-1",
    );
    let ((fault, calls), asked) = against(
        |_, _| answer(400, over.clone()),
        async |url| {
            let (api, board) = api(&url, &KEYS);
            let action = Named {
                group: "bots",
                hook: "drain",
                instance: "i-1",
                token: Some("t"),
            };
            let fault = autoscaling::complete(&api, action).await.unwrap_err();
            (fault, calls(&board))
        },
    )
    .await;
    assert!(fault.is_over(), "{fault}");
    assert_eq!(calls, [("CompleteLifecycleAction", "ok", 1)]);
    assert!(
        asked[0].says("LifecycleActionResult=CONTINUE") && asked[0].says("LifecycleActionToken=t")
    );
}

#[tokio::test]
async fn credentials_that_are_refused_are_fetched_anew() {
    let fetched = RefCell::new(0);
    let (member, asked) = against(
        |asked, _| {
            if asked.says("get /credentials") {
                *fetched.borrow_mut() += 1;
                answer(200, credentials(*fetched.borrow(), 3600))
            } else if asked.says("credential=akid1/") {
                answer(403, refusal("ExpiredToken", "expired"))
            } else {
                answer(200, MEMBER)
            }
        },
        async |url| {
            let uri = format!("{url}/credentials");
            let container = [
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*uri),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "open sesame"),
            ];
            let api = api(&url, &container).0;
            autoscaling::member(&api, "i-1").await.unwrap();
            autoscaling::member(&api, "i-1").await
        },
    )
    .await;
    assert!(member.is_ok());
    let signed = |nth: usize| {
        asked
            .iter()
            .filter(|one| one.says(&format!("credential=akid{nth}/")))
            .count()
    };
    assert_eq!((*fetched.borrow(), signed(1), signed(2)), (2, 1, 2));
    assert!(
        asked[0].says("authorization: open sesame"),
        "{:?}",
        asked[0]
    );
}

#[tokio::test]
async fn credentials_are_renewed_before_they_expire_and_used_until_then() {
    let fetched = RefCell::new(0);
    let (members, asked) = against(
        |asked, _| {
            if !asked.says("get /credentials") {
                return answer(200, MEMBER);
            }
            *fetched.borrow_mut() += 1;
            match *fetched.borrow() {
                2 => answer(500, ""),
                nth => answer(200, credentials(nth, 60)),
            }
        },
        async |url| {
            let uri = format!("{url}/credentials");
            let api = api(&url, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*uri)]).0;
            let mut members = Vec::new();
            for _ in 0..3 {
                members.push(autoscaling::member(&api, "i-1").await.is_ok());
            }
            members
        },
    )
    .await;
    assert_eq!(members, [true; 3]);
    let keys: Vec<_> = ["credential=akid1/", "credential=akid3/"]
        .map(|key| asked.iter().filter(|one| one.says(key)).count())
        .into();
    assert_eq!(keys, [2, 1]);
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_by_the_answer_once() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let late = || refusal("RequestTimeTooSkewed", "late");
    let (member, asked) = against(
        |asked, _| {
            if asked.says("x-amz-date: 19941106t0849") {
                answer(200, MEMBER)
            } else {
                Some(Answer(403, Some(DATE), late()))
            }
        },
        async |url| autoscaling::member(&api(&url, &KEYS).0, "i-1").await,
    )
    .await;
    assert!(member.is_ok(), "{member:?}");
    assert_eq!(asked.len(), 2);
    let (_, asked) = against(
        |_, _| Some(Answer(403, Some(DATE), late())),
        async |url| {
            autoscaling::member(&api(&url, &KEYS).0, "i-1")
                .await
                .is_err()
        },
    )
    .await;
    assert_eq!(asked.len(), 2, "once");
}

#[tokio::test]
async fn a_web_identity_is_exchanged_unsigned() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ey.token\n").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let credentials = "<A><R><Credentials><AccessKeyId>AKIDWEB</AccessKeyId><SecretAccessKey>s\
        </SecretAccessKey><SessionToken>t</SessionToken></Credentials></R></A>";
    let (member, asked) = against(
        |asked, _| {
            answer(
                200,
                if asked.says("AssumeRole") {
                    credentials
                } else {
                    MEMBER
                },
            )
        },
        async |url| {
            let identity = [
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &*path),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/bots"),
                ("AWS_ROLE_SESSION_NAME", "me"),
            ];
            autoscaling::member(&api(&url, &identity).0, "i-1").await
        },
    )
    .await;
    assert!(member.is_ok(), "{member:?}");
    assert!(asked[0].says("WebIdentityToken=ey.token") && asked[0].says("RoleSessionName=me"));
    assert!(!asked[0].says("authorization:"), "{:?}", asked[0]);
    assert!(asked[1].says("credential=akidweb/"), "{:?}", asked[1]);
}

#[tokio::test]
async fn the_role_of_the_instance_is_asked_for_with_a_token() {
    let tokens = RefCell::new(0);
    let (member, asked) = against(
        |asked, _| {
            if asked.says("put /latest/api/token") {
                *tokens.borrow_mut() += 1;
                return answer(200, format!("token{}", tokens.borrow()));
            }
            if asked.says("x-aws-ec2-metadata-token: token1") {
                return answer(401, "");
            }
            if asked.says("security-credentials/bots") {
                return answer(200, credentials(7, 3600));
            }
            match asked.head.lines().next() {
                Some("get /latest/meta-data/iam/security-credentials/ http/1.1") => {
                    answer(200, "bots")
                }
                Some("get /latest/meta-data/nothing http/1.1") => answer(404, "<html>"),
                _ => answer(200, MEMBER),
            }
        },
        async |url| {
            let api = api(&url, &[]).0;
            assert_eq!(api.imds.get("nothing").await.unwrap(), None);
            autoscaling::member(&api, "i-1").await
        },
    )
    .await;
    assert!(member.is_ok(), "{member:?}");
    assert_eq!(
        *tokens.borrow(),
        2,
        "the first was forgotten, the second is kept"
    );
    assert!(asked[0].says("x-aws-ec2-metadata-token-ttl-seconds: 21600"));
    assert!(
        asked
            .last()
            .is_some_and(|one| one.says("credential=akid7/"))
    );
}

#[tokio::test]
async fn a_token_that_does_not_come_is_explained() {
    let ((silent, error), _) = against(
        |_, _| None,
        async |url| {
            let (api, board) = api(&url, &[]);
            let silent = api.imds.get("instance-id").await.unwrap_err();
            (
                silent.to_string(),
                board.now()[&PlatformName::Aws].error.clone(),
            )
        },
    )
    .await;
    assert!(silent.contains("HttpPutResponseHopLimit to 2"), "{silent}");
    assert!(error.is_some_and(|error| error.starts_with("imds: ")));
}
