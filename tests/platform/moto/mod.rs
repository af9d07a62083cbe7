//! Another's AWS judges the wire format and the signatures: `moto`, with authentication on.
//!
//! Its hooks never fire, and it knows no CompleteLifecycleAction; the order of events is for the cloud
//! of our own.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::cloud::{Cloud, HOOK, REGION};
use crate::harness::log::Log;
use crate::harness::proxy::Builder;
use crate::harness::python::interpreter_for;
use crate::harness::{Proxy, within};
use crate::scene::{Crowd, brisk};

/// An account on moto; it ends when dropped.
struct Account {
    /// All the names in it.
    names: Value,
    child: Child,
    commands: ChildStdin,
    said: Log,
    errors: Log,
    answers: usize,
}

impl Account {
    async fn open_for(test: &str) -> Option<Account> {
        let python = interpreter_for(test)?;
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/platform/moto/account.py"
        );
        let mut child = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let mut account = Account {
            names: Value::Null,
            commands: child.stdin.take().unwrap(),
            said: Log::follow(child.stdout.take().unwrap()),
            errors: Log::follow(child.stderr.take().unwrap()),
            child,
            answers: 0,
        };
        account.names = account.answer().await;
        Some(account)
    }

    async fn answer(&mut self) -> Value {
        let number = self.answers;
        self.answers += 1;
        let line = self.said.find(|log| log.json().get(number).cloned());
        let line = within(120, "a word of moto", line).await;
        line.unwrap_or_else(|| panic!("moto has ended:\n{}", self.errors))
    }

    /// What has become of everything.
    async fn state(&mut self) -> Value {
        self.says("state").await
    }

    /// Puts a message into the queue, or asks for the state; gives the state.
    async fn says(&mut self, line: &str) -> Value {
        writeln!(self.commands, "{line}").unwrap();
        self.answer().await
    }

    /// Waits until the state is so.
    async fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) {
        let asked = async {
            let mut pace = tokio::time::interval(std::time::Duration::from_millis(200));
            loop {
                pace.tick().await;
                if is(&self.state().await) {
                    return;
                }
            }
        };
        within(60, what, asked).await;
    }

    fn name(&self, of: &str) -> &str {
        self.names[of].as_str().expect("a name")
    }

    /// The proxy in this account, on the machine of `metadata`.
    fn proxy(&self, metadata: &Cloud, proxy: Builder) -> Builder {
        let quoted = |of: &str| format!("\"{}\"", self.name(of));
        let proxy = metadata.machine(proxy);
        proxy
            .environment("AWS_ENDPOINT_URL", self.name("url"))
            .environment("AWS_ACCESS_KEY_ID", self.name("key"))
            .environment("AWS_SECRET_ACCESS_KEY", self.name("secret"))
            .environment("AWS_REGION", REGION)
            .set("platform.aws", "poll", "\"1s\"")
            .set("platform.aws", "describe_poll", "\"1s\"")
            .set("platform.aws", "target_port", "8080")
            .set(
                "platform.aws",
                "target_groups",
                &format!("[{}]", quoted("target_group")),
            )
            .set("platform.aws", "queue_url", &quoted("queue"))
            .set("platform.aws", "deregister", "true")
            .set("platform.aws", "protect_when", "\"open > 2\"")
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what moto said:\n{}---", self.errors);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often a call went how, as the metrics tell.
async fn calls(proxy: &Proxy, call: &str, result: &str) -> f64 {
    let scrape = proxy.scrape().await.unwrap();
    let labels = [("platform", "aws"), ("call", call), ("result", result)];
    scrape.sum("lameduck_platform_calls_total", &labels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_aws_understands_every_call_that_it_knows() {
    let Some(mut account) = Account::open_for("the test against moto").await else {
        return;
    };
    let metadata = Cloud::start();
    let own = account.name("instance").to_owned();
    metadata
        .world()
        .change(|world| world.imds.instance.clone_from(&own));
    let mut crowd = Crowd::new();
    let proxy = account.proxy(&metadata, brisk(crowd.proxy(), "auto"));
    let proxy = proxy.start().await;

    // Hooks and delays are read.
    let known = |source: &'static str| {
        proxy.log.find(move |log| {
            let mut events = log.events().into_iter();
            let is = |e: &crate::harness::log::Event| {
                e.message == "window known" && e.text("source").is_some_and(|s| s.contains(source))
            };
            events.find(|e| is(e))
        })
    };
    let delay = within(60, "the delay", known("agents")).await.unwrap();
    assert_eq!(delay.text("length").as_deref(), Some("8s"));
    within(60, "the hook", known(HOOK)).await.unwrap();

    // Protection goes on with the third session.
    assert_eq!(account.state().await["protected"], false);
    crowd.joins(&proxy, 4).await;
    account
        .until("protection", |state| state["protected"] == true)
        .await;

    // A message for another stays in the queue, its own begins the drain.
    let notice = |instance: &str| {
        let token = "71514b9d-6a40-4b26-8523-05e7ee35fa40";
        crate::cloud::scale_in::notice(instance, token).to_string()
    };
    account.says(&notice("i-00000000000000000")).await;
    account.says(&notice(&own)).await;
    crowd.left_well().await;
    proxy.phase("drained").await;
    account
        .until(
            "the machine's way out of its target group and the queue",
            |state| state["registered"] == json!([]) && state["messages"] == 1,
        )
        .await;

    for call in [
        "DescribeLifecycleHooks",
        "DescribeTargetGroupAttributes",
        "DeregisterTargets",
    ] {
        assert_eq!(calls(&proxy, call, "ok").await, 1.0, "{call}");
    }
    let scrape = proxy.scrape().await.unwrap();
    let failed = scrape.matching("lameduck_platform_calls_total", &[]);
    for sample in failed {
        println!("{sample:?}");
    }
    // moto does not know how a hook is completed, which keeps the process no longer than it may.
    proxy.terminate();
    assert_eq!(proxy.exit_within(90).await.code, Some(0));
    assert_eq!(proxy.report()["cut"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_aws_refuses_a_wrong_secret_and_nobody_is_kept_by_it() {
    let Some(account) = Account::open_for("the test of a wrong secret").await else {
        return;
    };
    let metadata = Cloud::start();
    let mut crowd = Crowd::new();
    let proxy = account
        .proxy(&metadata, brisk(crowd.proxy(), "8s"))
        .environment("AWS_SECRET_ACCESS_KEY", "not the one")
        .start()
        .await;
    crowd.joins(&proxy, 4).await;
    let refused = proxy.log.find(|log| {
        let mut events = log.events().into_iter();
        events.find(|e| {
            e.text("error")
                .is_some_and(|e| e.contains("SignatureDoesNotMatch"))
        })
    });
    let refused = within(60, "a refusal", refused).await.unwrap();
    assert_eq!(refused.text("platform").as_deref(), Some("aws"));
    proxy.terminate();
    crowd.left_well().await;
    assert_eq!(proxy.exit_within(90).await.code, Some(0));
    assert!(
        !proxy.log.to_string().contains("not the one"),
        "the secret in the log"
    );
}
