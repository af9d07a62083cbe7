//! Credentials, and the metadata service that some come from.

use super::*;

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
