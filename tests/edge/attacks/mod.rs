//! Attacks, while well-behaved sessions go on: what these feel of it, what it costs in memory, and
//! whether every refusal is counted.
//!
//! The proxy has a core of its own. The crowd and its agent have another, and the attackers take what
//! these leave of it: an attacker that took the meter's time would be measured instead of the proxy.

mod agent;
mod attackers;
mod cores;
mod crowd;

use std::collections::BTreeMap;
use std::time::Duration;

use agent::{Chatty, PUSHED, echoing};
use attackers::{Attack, Deed, TRUSTED, Targets};
use crowd::{Crowd, Waits};

use crate::harness::Proxy;
use crate::harness::agent::Agent;
use crate::harness::authority::{Authority, ONLY_13};
use crate::harness::metrics::Scrape;
use tempfile::TempDir;

/// How many connections an attack keeps up, and how.
const ATTACKS: [(Deed, usize); 19] = [
    (Deed::Handshake, 64),
    (Deed::BrokenHandshake, 64),
    (Deed::HalfHandshake, 2_000),
    (Deed::Garbage, 64),
    (Deed::LargeHello, 16),
    (Deed::SlowHead, 1_000),
    (Deed::SlowBody, 1_000),
    (Deed::Untrusted, 64),
    (Deed::SplitHeader, 64),
    (Deed::NoHeader, 64),
    (Deed::LargeHead, 16),
    (Deed::LargeTarget, 16),
    (Deed::LargeBody, 64),
    (Deed::LargeChunks, 16),
    (Deed::LargeMessage, 16),
    (Deed::DeafWebSocket, 8),
    (Deed::DeafDownload, 8),
    (Deed::DeafEvents, 8),
    (Deed::DeafSecure, 8),
];

/// The size of a drill.
struct Size {
    workers: usize,
    /// Whether the proxy has a core of its own.
    apart: bool,
    plain: usize,
    secure: usize,
    /// Of an attack; a look at how it is without one is half as long.
    length: Duration,
    /// How often each attack is made, with a quiet look before each.
    rounds: usize,
    /// Attacks have only every so many of their connections.
    share: usize,
    /// Whether delays are judged.
    judged: bool,
    /// What the configuration says beyond what the attacks need.
    limits: &'static str,
}

/// What an operator sets that expects such clients.
const SENSIBLE: &str =
    "min_speed = \"100B\"\nstalled_timeout = \"60s\"\nmax_held_bytes = \"64MiB\"\n";

/// What the p99 may be beyond twice the quiet one: two turns of the scheduler's least slice on a
/// core that is shared, for the two ways through the proxy.
const NOISE: Duration = Duration::from_millis(1);

/// Memory beyond that before the attack: so much, and so much for each connection of the attackers.
const ANYWAY: u64 = 24 << 10;
const EACH: u64 = 64;

#[tokio::test]
async fn refusals_are_counted_and_memory_is_bounded() {
    let size = Size {
        workers: 2,
        apart: false,
        plain: 6,
        secure: 2,
        length: Duration::from_millis(300),
        rounds: 1,
        share: 8,
        judged: false,
        limits: SENSIBLE,
    };
    drill(&size).await;
}

#[tokio::test]
#[ignore = "large: just attacks"]
async fn one_worker_under_attack() {
    drill(&Size::large(1, SENSIBLE)).await;
}

#[tokio::test]
#[ignore = "large: just attacks"]
async fn one_worker_under_attack_without_limits() {
    drill(&Size::large(1, "")).await;
}

#[tokio::test]
#[ignore = "large: just attacks"]
async fn two_workers_under_attack() {
    drill(&Size::large(2, SENSIBLE)).await;
}

impl Size {
    fn large(workers: usize, limits: &'static str) -> Size {
        let number =
            |name: &str, or: u64| std::env::var(name).map_or(or, |text| text.parse().unwrap());
        let seconds = number("LAMEDUCK_TEST_SECONDS", 5);
        Size {
            workers,
            apart: workers == 1,
            plain: 150,
            secure: 50,
            length: Duration::from_secs(seconds),
            rounds: number("LAMEDUCK_TEST_ROUNDS", 3) as usize,
            share: 1,
            judged: true,
            limits,
        }
    }
}

/// The proxy and what it stands between.
struct Scene {
    proxy: Proxy,
    targets: Targets,
    agent: Chatty,
    _echoing: Agent,
    _files: TempDir,
}

impl Scene {
    async fn new(size: &Size) -> Scene {
        let (agent, echoing) = (Chatty::start(), echoing());
        let authority = Authority::new("The Authority");
        let files = TempDir::new().unwrap();
        authority.pair(&["localhost"]).write(files.path(), "tls");
        let path = |name: &str| files.path().join(name).display().to_string();
        let trusted = std::net::Ipv4Addr::from(TRUSTED);
        let listener = |name: &str, more: &str| {
            format!(
                "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\n\
                 upstream = \"agent\"\n{more}\n\
                 [[listener.route]]\npath = \"/echo/crowd\"\nupstream = \"crowd\"\n"
            )
        };
        let text = [
            format!("workers = {}\n", size.workers),
            listener("plain", ""),
            listener(
                "proxied",
                &format!("proxy_protocol = \"required\"\nproxy_trusted = [\"{trusted}/32\"]"),
            ),
            listener(
                "secure",
                &format!(
                    "[listener.tls]\ncertificate_file = {:?}\nkey_file = {:?}",
                    path("tls.crt"),
                    path("tls.key")
                ),
            ),
            format!("[upstream.agent]\nendpoints = [\"{}\"]\n", agent.addr),
            format!("[upstream.crowd]\nendpoints = [\"{}\"]\n", echoing.addr),
            "[http]\nhealth_path = \"/alive\"\nheader_timeout = \"60s\"\n".to_owned(),
            // Those without which nothing is oversize.
            format!(
                "[limits]\nmax_request_body = \"1MiB\"\nmax_websocket_message = \"512KiB\"\n{}",
                size.limits
            ),
        ];
        let proxy = Proxy::builder().configuration(&text.concat());
        let proxy = proxy.descriptors(20_000).start().await;
        let targets = Targets {
            plain: proxy.addr("plain"),
            secure: proxy.addr("secure"),
            proxied: proxy.addr("proxied"),
            tls: authority.client(ONLY_13, None),
        };
        Scene {
            proxy,
            targets,
            agent,
            _echoing: echoing,
            _files: files,
        }
    }

    /// The most memory that was resident since this was asked last, in KiB.
    fn most_memory(&self) -> u64 {
        let folder = format!("/proc/{}", self.proxy.pid);
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        let most = line.unwrap().split_whitespace().next().unwrap();
        // From here on it is counted anew (proc(5)).
        std::fs::write(format!("{folder}/clear_refs"), "5").unwrap();
        most.parse().unwrap()
    }
}

/// How many were refused, by reason.
fn refusals(scrape: &Scrape) -> BTreeMap<String, u64> {
    let mut refusals = BTreeMap::new();
    for sample in scrape.matching("lameduck_sessions_refused_total", &[]) {
        *refusals.entry(sample.labels["reason"].clone()).or_default() += sample.value as u64;
    }
    refusals
}

async fn drill(size: &Size) {
    let local = tokio::task::LocalSet::new();
    local.run_until(attack_after_attack(size)).await;
}

async fn attack_after_attack(size: &Size) {
    let scene = Scene::new(size).await;
    if size.apart {
        cores::keep_process_on(scene.proxy.pid, 0);
        cores::keep_this_on(1);
    }
    let targets = &scene.targets;
    let crowd = Crowd::come(
        (targets.plain, size.plain),
        (targets.secure, size.secure),
        targets.tls.clone(),
    );
    let crowd = crowd.await;
    // The first answers find everything cold.
    tokio::time::sleep(size.length / 4).await;
    crowd.waited();
    let only = std::env::var("LAMEDUCK_TEST_ATTACKS").unwrap_or_default();
    let mut faults = Vec::new();
    for (deed, at_once) in ATTACKS {
        let name = format!("{deed:?}");
        if !only.is_empty() && !only.split(',').any(|it| it == name) {
            continue;
        }
        let at_once = (at_once / size.share).max(2);
        let (mut quiet, mut under) = (Vec::new(), Vec::new());
        for _ in 0..size.rounds {
            crowd.waited();
            tokio::time::sleep(size.length / 2).await;
            let (waits, lost) = crowd.waited();
            assert!(lost.is_empty(), "{lost:?}");
            quiet.push(waits.p99);
            let (waits, found) = one(&scene, &crowd, deed, at_once, size).await;
            under.push(waits.p99);
            faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
        }
        let (quiet, under) = (median(quiet), median(under));
        println!(
            "    p99 {under:.0?}, quiet {quiet:.0?}: medians of {}",
            size.rounds
        );
        if size.judged && under > quiet * 2 + NOISE {
            faults.push(format!("{name}: p99 {under:.0?}, quiet {quiet:.0?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of[of.len() / 2]
}

/// One attack: how long others waited, and what was wrong.
async fn one(
    scene: &Scene,
    crowd: &Crowd,
    deed: Deed,
    at_once: usize,
    size: &Size,
) -> (Waits, Vec<String>) {
    let before = refusals(&scene.proxy.scrape().await.unwrap());
    scene.most_memory();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let memory = scene.most_memory();
    crowd.waited();
    let pushed = scene
        .agent
        .pushed
        .load(std::sync::atomic::Ordering::Relaxed);
    let attack = Attack::begin(deed, at_once, &scene.targets);
    tokio::time::sleep(size.length).await;
    let (waits, lost) = crowd.waited();
    let pushed = scene
        .agent
        .pushed
        .load(std::sync::atomic::Ordering::Relaxed)
        - pushed;
    // The crowd goes on while the attackers come to their ends.
    let seen = tokio::task::spawn_blocking(|| attack.end()).await.unwrap();
    let mut faults = Vec::new();
    let refused: BTreeMap<_, _> = seen.iter().filter(|(why, _)| !why.is_empty()).collect();
    let total: u64 = refused.values().copied().sum();
    // Whoever was refused knows it as soon as it is counted, or sooner.
    let counted = |scrape: &Scrape| {
        let mut new = refusals(scrape);
        for (reason, count) in &before {
            *new.entry(reason.clone()).or_default() -= count;
        }
        new.retain(|_, count| *count > 0);
        new
    };
    let mut now = BTreeMap::new();
    for _ in 0..100 {
        now = counted(&scene.proxy.scrape().await.unwrap());
        if now.values().sum::<u64>() >= total {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let most = scene.most_memory();
    let served = seen.get("").copied().unwrap_or(0);
    let grown = most.saturating_sub(memory);
    tell(&format!("{deed:?}"), waits);
    println!(
        "    {served} not refused, {refused:?} by their own account, {now:?} counted; {grown} KiB more \
         than {memory}; {} MiB pushed",
        pushed >> 20
    );
    for (reason, count) in refused {
        let same = now.iter().filter(|(why, _)| why.starts_with(reason));
        let of_reason: u64 = same.map(|(_, count)| *count).sum();
        if of_reason != *count {
            faults.push(format!("{count} refused as {reason}, {of_reason} counted"));
        }
    }
    if now.values().sum::<u64>() != total {
        faults.push(format!("{total} refused, {now:?} counted"));
    }
    if !lost.is_empty() {
        faults.push(format!("well-behaved sessions were lost: {lost:?}"));
    }
    if grown > ANYWAY + EACH * at_once as u64 {
        faults.push(format!("{grown} KiB more"));
    }
    if pushed > at_once as u64 * PUSHED / 16 {
        faults.push(format!("{pushed} bytes pushed to who does not read"));
    }
    (waits, faults)
}

fn tell(what: &str, waits: Waits) {
    let Waits {
        answers,
        p50,
        p99,
        longest,
    } = waits;
    println!("{what}: {answers} answers: p50 {p50:.0?}, p99 {p99:.0?}, longest {longest:.0?}");
}
