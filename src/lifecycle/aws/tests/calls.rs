//! Calls: signed, read, repeated, counted.

use super::*;

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
