//! What goes wrong, and what a careful operator would want then.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::{Agent, Vacancy};
use crate::harness::client::{http, tcp};
use crate::harness::ledger::message;
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, patience, within};

/// One question and its answer over a TCP session.
async fn echoes(wire: &mut Wire, number: u64) -> bool {
    let question = message(number) + "\n";
    if wire.send(&question).await.is_err() {
        return false;
    }
    within(10, "an answer or an end", wire.until(b"\n"))
        .await
        .as_deref()
        == Some(question.as_bytes())
}

/// A session that has been answered once.
async fn session(addr: SocketAddr, name: &str) -> Wire {
    let mut wire = tcp::open(addr, &format!("/echo/{name}")).await.unwrap();
    assert!(echoes(&mut wire, 0).await, "{name} has no answer");
    wire
}

/// What the kernel has charged the process with.
fn cpu_time(proxy: &Proxy) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid)).unwrap();
    // Behind the name, which may hold anything: state is field 3, utime 14, stime 15.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|t| t.parse::<u64>().unwrap())
        .sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// A table of descriptors that grows with the sessions would stop whoever accepts, some milliseconds each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_room_for_all_descriptors_beforehand() {
    let proxy = Proxy::builder().configuration(
        "[[listener]]\nname = \"raw\"\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"agent\"\n\
         [upstream.agent]\nendpoints = [\"127.0.0.1:1\"]\n\
         [limits]\nmax_connections = 3000\n",
    );
    let proxy = proxy.descriptors(20_000).start().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid)).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    let size: u32 = size.unwrap().trim().parse().unwrap();
    assert!(size >= 6_000, "{size}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_descriptors_hurt_nobody_who_is_in() {
    let (raw, web) = (TcpAgent::start(), HttpAgent::start());
    let proxy = Proxy::builder()
        .listener("raw", "tcp", raw.agent.addr)
        .listener("web", "http", web.agent.addr)
        .descriptors(128)
        .start()
        .await;
    let mut old = session(proxy.addr("raw"), "old").await;

    let (mut inside, mut refused) = (Vec::new(), 0);
    for n in 0..200 {
        let mut wire = Wire::connect(proxy.addr("raw"))
            .await
            .expect("a polite refusal comes later");
        let _ = wire.send(format!("/echo/{n}\n{}\n", message(0))).await;
        match within(10, "service or refusal", wire.until(b"\n")).await {
            Some(_) => inside.push(wire),
            None => {
                assert_eq!(
                    wire.end,
                    Some(End::Fin),
                    "client {n} was refused with a reset"
                );
                refused += 1;
            }
        }
    }
    println!("{} inside, {refused} refused", inside.len());
    assert!(inside.len() > 20 && refused > 20);

    let before = cpu_time(&proxy);
    let watched = Instant::now();
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    let refusal = within(10, "a refusal", client.request("GET", "/", &[], b""))
        .await
        .unwrap();
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.is_last());
    assert!(refusal.field("retry-after").is_some(), "{refusal:?}");
    for n in 1..=10 {
        assert!(echoes(&mut old, n).await, "the old session was hurt");
        let health = within(5, "health", proxy.ask_health("/livez"))
            .await
            .unwrap();
        assert_eq!(health.status, 200);
    }
    // Long enough for the CPU's clock, which counts in hundredths.
    assert!(old.stays_silent(Duration::from_millis(1000)).await);
    assert!(client.stays_silent(Duration::ZERO).await || client.end.is_some());
    let used = cpu_time(&proxy) - before;
    let watched = watched.elapsed();
    assert!(
        used < watched / 2,
        "{used:?} of CPU in {watched:?}: something spins"
    );
    let scrape = proxy.scrape().await.unwrap();
    assert!(scrape.sum("lameduck_sessions_refused_total", &[]) >= f64::from(refused));
    assert_eq!(scrape.check_balance(), Ok(()));

    drop(inside);
    let recovered = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if http::fetch(proxy.addr("web"), "/").await.is_ok() {
                return;
            }
        }
    };
    within(10, "service to come back", recovered).await;
    session(proxy.addr("raw"), "new").await;
    assert!(echoes(&mut old, 11).await);
}

#[tokio::test]
async fn a_configured_limit_refuses_politely_above_it() {
    let raw = TcpAgent::start();
    let proxy = Proxy::tcp(raw.agent.addr)
        .set("limits", "max_connections", "3")
        .start()
        .await;
    let mut inside = Vec::new();
    for n in 0..3 {
        inside.push(session(proxy.addr("raw"), &n.to_string()).await);
    }
    let mut fourth = tcp::open(proxy.addr("raw"), "/echo/fourth").await.unwrap();
    assert_eq!(
        within(10, "the refusal", fourth.rest()).await,
        (vec![], End::Fin)
    );
    inside.pop().unwrap().finish().await;
    let gone = |scrape: &crate::harness::metrics::Scrape| {
        scrape.sum("lameduck_connections_open", &[]) == 2.0
    };
    proxy.metrics_until("the third to have gone", gone).await;
    session(proxy.addr("raw"), "fifth").await;
}

#[tokio::test]
async fn five_faults_in_a_configuration_are_told_at_once() {
    let faults = [
        (3, "99999"),
        (4, "htpp"),
        (5, "agnet"),
        (9, "windw"),
        (10, "2 sheep"),
    ];
    let proxy = Proxy::builder()
        .configuration(
            "[[listener]]\nname = \"chat\"\nbind = \"127.0.0.1:99999\"\nprotocol = \"htpp\"\n\
             upstream = \"agnet\"\n[upstream.agent]\nendpoints = [\"127.0.0.1:9000\"]\n[drain]\n\
             windw = \"30s\"\nmargin = \"2 sheep\"\n",
        )
        .spawn();
    let exit = proxy.exit_within(10).await;
    assert_eq!(exit.code, Some(2));
    let told = proxy.log.to_string();
    for (line, text) in faults {
        assert!(told.contains(text), "{text:?} is not told");
        assert!(
            told.contains(&format!(":{line}:")),
            "line {line} is not told"
        );
    }
    assert!(told.contains("window"), "the nearest known key is not told");
    assert!(told.contains("lameduck.toml"), "the file is not told");
    assert!(!proxy.has_been("serving"));
}

#[tokio::test]
async fn wrong_usage_is_2() {
    for arguments in [&["--no-such-flag"][..], &[], &["--upstream", "nonsense"]] {
        let proxy = Proxy::builder().arguments(arguments).spawn();
        assert_eq!(
            proxy.exit_within(10).await.code,
            Some(2),
            "{arguments:?}: {}",
            proxy.log
        );
    }
    let missing = Proxy::builder()
        .arguments(&["-c", "/no/such/file.toml"])
        .spawn();
    assert_eq!(missing.exit_within(10).await.code, Some(2));
    assert!(missing.log.to_string().contains("/no/such/file.toml"));
}

#[tokio::test]
async fn a_proxy_is_run_by_flags_alone() {
    let web = HttpAgent::start();
    let upstream = web.agent.addr.to_string();
    let proxy = Proxy::builder()
        .arguments(&[
            "--listen",
            "http://127.0.0.1:0",
            "--listen",
            "tcp://127.0.0.1:0",
        ])
        .arguments(&["--upstream", &upstream, "--window", "30s", "--workers", "2"])
        .start()
        .await;
    let listening: Vec<_> = proxy
        .log
        .events()
        .into_iter()
        .filter(|e| e.message == "listening")
        .collect();
    let mut protocols: Vec<_> = listening
        .iter()
        .filter_map(|e| e.text("protocol"))
        .collect();
    protocols.sort();
    assert_eq!(protocols, ["http", "tcp"]);
    for event in listening {
        let addr = event.text("addr").unwrap().parse().unwrap();
        assert_eq!(http::fetch(addr, "/").await, Ok(()), "{event:?}");
    }
}

#[tokio::test]
async fn the_environment_speaks_where_no_flag_does() {
    let web = HttpAgent::start();
    let proxy = Proxy::builder()
        .environment("LAMEDUCK_UPSTREAM", &web.agent.addr.to_string())
        .environment("LAMEDUCK_LISTEN", "tcp://127.0.0.1:0")
        .arguments(&["--listen", "http://127.0.0.1:0"])
        .start()
        .await;
    let listening: Vec<_> = proxy
        .log
        .events()
        .into_iter()
        .filter(|e| e.message == "listening")
        .collect();
    assert_eq!(
        listening.len(),
        1,
        "the flag replaces the variable: {listening:?}"
    );
    assert_eq!(listening[0].text("protocol").as_deref(), Some("http"));
    let addr = listening[0].text("addr").unwrap().parse().unwrap();
    assert_eq!(http::fetch(addr, "/").await, Ok(()));
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let listen = format!("http://{addr}");
    for arguments in [
        &["--listen", &*listen][..],
        &["--listen", "http://127.0.0.1:0", "--health", &addr],
    ] {
        let proxy = Proxy::builder()
            .default_health_and_admin()
            .arguments(&["--upstream", "127.0.0.1:9", "--admin", "127.0.0.1:0"])
            .arguments(arguments)
            .arguments(if arguments.len() == 2 {
                &["--health", "127.0.0.1:0"]
            } else {
                &[]
            })
            .spawn();
        assert_eq!(proxy.exit_within(10).await.code, Some(1), "{arguments:?}");
        assert!(
            proxy.log.to_string().contains(&addr),
            "{arguments:?}: the address is not named"
        );
        assert!(!proxy.has_been("serving"));
    }
}

/// Asks `/readyz` until it answers with this status.
async fn ready_is(proxy: &Proxy, status: u16) -> Value {
    let asked = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let ready = proxy.ask_health("/readyz").await.unwrap();
            if ready.status == status {
                return serde_json::from_str(&ready.text()).expect("a JSON body");
            }
        }
    };
    within(20, &format!("readiness {status}"), asked).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_not_there_yet_is_told_and_then_found() {
    let (web_port, raw_port) = (Vacancy::new(), Vacancy::new());
    let proxy = Proxy::builder()
        .listener("web", "http", web_port.addr())
        .listener("raw", "tcp", raw_port.addr())
        .start()
        .await;
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    let answer = within(10, "an answer", client.request("GET", "/", &[], b""))
        .await
        .unwrap();
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    let mut wire = tcp::open(proxy.addr("raw"), "/echo/early").await.unwrap();
    let (heard, _) = within(10, "the end of the session", wire.rest()).await;
    assert!(heard.is_empty());
    let body = ready_is(&proxy, 503).await;
    assert_eq!(body["phase"], "serving", "{body}");
    assert!(
        body["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{body}"
    );
    assert_eq!(proxy.ask_health("/livez").await.unwrap().status, 200);
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(scrape.sum("lameduck_upstream_healthy", &[]), 0.0);
    let refused = [("listener", "raw"), ("reason", "upstream")];
    assert_eq!(scrape.sum("lameduck_sessions_refused_total", &refused), 1.0);

    let _web = HttpAgent::at(web_port);
    let raw = TcpAgent::at(raw_port);
    ready_is(&proxy, 200).await;
    assert_eq!(http::fetch(proxy.addr("web"), "/").await, Ok(()));
    session(proxy.addr("raw"), "late").await;
    drop(raw);
}

#[tokio::test]
async fn a_sigterm_during_startup_is_heard() {
    let mut heard = 0;
    for delay in (0..40).step_by(2) {
        let proxy = Proxy::http("127.0.0.1:9".parse().unwrap())
            .brief_lame_duck()
            .spawn();
        // Wherever the start-up stands at that moment is the point.
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let had_spoken = !proxy.log.lines().is_empty();
        proxy.terminate();
        let exit = proxy.exit_within(10).await;
        match exit.code {
            Some(0) => heard += 1,
            // Before its first words no process can have a handler.
            None if !had_spoken => {}
            other => panic!("exit code {other:?} after a SIGTERM at {delay} ms"),
        }
    }
    assert!(heard > 0, "no SIGTERM met a process that could hear it");
    let proxy = Proxy::http("127.0.0.1:9".parse().unwrap())
        .brief_lame_duck()
        .spawn();
    let spoken = proxy
        .log
        .find(|log| (!log.lines().is_empty()).then_some(()));
    within(10, "the first line", spoken).await;
    proxy.terminate();
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}

#[tokio::test]
async fn a_second_sigterm_changes_nothing() {
    let raw = TcpAgent::start();
    let proxy = Proxy::tcp(raw.agent.addr)
        .window("60s")
        .brief_lame_duck()
        .drain("finish", "\"50s\"")
        .start()
        .await;
    let mut wire = session(proxy.addr("raw"), "anna").await;
    proxy.terminate();
    proxy.phase("draining").await;
    proxy.terminate();
    for n in 1..=20 {
        assert!(echoes(&mut wire, n).await, "the session was hurt");
    }
    assert!(
        wire.stays_silent(Duration::from_millis(1500)).await,
        "the session was ended"
    );
    wire.finish().await;
    within(10, "the end", wire.rest()).await;
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
    let drains = proxy
        .log
        .events()
        .iter()
        .filter(|e| e.text("phase").as_deref() == Some("lame_duck"))
        .count();
    assert_eq!(drains, 1, "one drain, not two");
}

/// A proxy with one TCP session whose two sides will not end, whatever they hear.
async fn with_stubborn_session(window: &str) -> (Proxy, Agent, Wire) {
    let agent = Agent::scripted(|_, mut wire| async move {
        let _ = wire.send("hello\n").await;
        std::future::pending::<()>().await;
        drop(wire);
    });
    let proxy = Proxy::tcp(agent.addr)
        .window(window)
        .brief_lame_duck()
        .start()
        .await;
    let mut wire = Wire::connect(proxy.addr("raw")).await.unwrap();
    within(10, "the greeting", wire.until(b"\n")).await.unwrap();
    (proxy, agent, wire)
}

#[tokio::test]
async fn a_second_sigint_leaves_one_second() {
    let (proxy, _agent, wire) = with_stubborn_session("60s").await;
    proxy.signal(Signal::INT);
    proxy.phase("draining").await;
    let second = Instant::now();
    proxy.signal(Signal::INT);
    let exit = proxy.exit_within(10).await;
    let took = exit.at - second;
    println!("{took:?} after the second SIGINT");
    assert!(took < patience(Duration::from_millis(1500)), "{took:?}");
    assert_eq!(exit.code, Some(3), "the session was cut");
    assert_eq!(cut(&proxy), 1);
    drop(wire);
}

#[tokio::test]
async fn a_deadline_cuts_who_will_not_go() {
    let (proxy, _agent, mut wire) = with_stubborn_session("4s").await;
    let begun = proxy.terminate();
    let exit = proxy.exit_within(20).await;
    let took = exit.at - begun;
    println!("{took:?} of 4 s");
    assert!(took <= Duration::from_secs(4), "{took:?}");
    assert_eq!(exit.code, Some(3));
    assert_eq!(cut(&proxy), 1);
    within(5, "the cut", wire.rest()).await;
}

#[tokio::test]
async fn sigquit_leaves_at_once_with_a_report() {
    let (proxy, _agent, mut wire) = with_stubborn_session("60s").await;
    let asked = Instant::now();
    proxy.signal(Signal::QUIT);
    let exit = proxy.exit_within(10).await;
    let took = exit.at - asked;
    assert!(took < patience(Duration::from_secs(1)), "{took:?}");
    assert_eq!(exit.code, Some(3), "what is open is cut");
    assert_eq!(cut(&proxy), 1);
    within(5, "the cut", wire.rest()).await;
}

/// How many sessions the report says were cut.
fn cut(proxy: &Proxy) -> u64 {
    let report = proxy.report();
    assert_eq!(
        report["cut_sessions"].as_array().map(Vec::len),
        report["cut"].as_u64().map(|n| n as usize)
    );
    report["cut"].as_u64().expect("a number of cut sessions")
}
