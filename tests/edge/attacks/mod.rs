//! Attacks, while well-behaved sessions go on: what these feel of it, what it costs in memory, and
//! whether every refusal is counted.
//!
//! The proxy has a core of its own. The crowd and its agent have another, and the attackers take what
//! these leave of it: an attacker that took the meter's time would be measured instead of the proxy.
//! Two workers have to share both cores with them; each is kept on one, since the scheduler may put both on
//! the same. Beside nginx they are left to the scheduler, as nginx's are: what it makes of the same attacks
//! in the same run says how much of it is the machine's.

mod agent;
mod attackers;
mod cores;
mod crowd;
mod nginx;
mod stamped;

use std::collections::BTreeMap;
use std::time::Duration;

use agent::{Chatty, PUSHED};
use attackers::{Attack, Deed, TRUSTED, Targets};
use crowd::{Crowd, Echoing, Waits};

use crate::harness::Proxy;
use crate::harness::authority::{Authority, ONLY_13};
use crate::harness::metrics::Scrape;
use nginx::Nginx;
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

/// Those of them that nginx ends as the proxy does.
const ON_NGINX_TOO: [Deed; 9] = [
    Deed::Handshake,
    Deed::BrokenHandshake,
    Deed::HalfHandshake,
    Deed::Garbage,
    Deed::SlowHead,
    Deed::SlowBody,
    Deed::SplitHeader,
    Deed::NoHeader,
    Deed::LargeBody,
];

/// Where the proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cores {
    /// Wherever the scheduler puts its workers: two busy ones may find themselves on one core, for a turn.
    Any,
    /// On one that nobody else uses.
    One,
    /// A worker on each, where crowd, agent and attackers run too.
    Each,
}

/// The size of a drill.
struct Size {
    workers: usize,
    cores: Cores,
    plain: usize,
    secure: usize,
    /// Of an attack; a look at how it is without one is half as long.
    length: Duration,
    /// How often each attack is made, with a quiet look before each.
    rounds: usize,
    /// Attacks have only every so many of their connections.
    share: usize,
    /// Whether delays are judged beside the quiet ones.
    judged: bool,
    /// What the configuration says beyond what the attacks need.
    limits: &'static str,
}

/// What an operator sets that expects such clients.
const SENSIBLE: &str =
    "min_speed = \"100B\"\nstalled_timeout = \"60s\"\nmax_held_bytes = \"64MiB\"\n";

/// What the p99 may be beyond twice the quiet one: by so much quiet looks differ from each other.
const NOISE: Duration = Duration::from_micros(250);
/// What it may be beyond nginx's, where workers, crowd and attackers have to share the cores: a turn of
/// the scheduler's.
const SLICE: Duration = Duration::from_millis(1);

/// Memory beyond that before the attack: so much, and so much for each connection of the attackers.
const ANYWAY: u64 = 24 << 10;
const EACH: u64 = 64;

#[tokio::test]
async fn refusals_are_counted_and_memory_is_bounded() {
    let size = Size {
        workers: 2,
        cores: Cores::Any,
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

#[tokio::test]
#[ignore = "large: just attacks"]
async fn two_workers_under_attack_beside_nginx() {
    let local = tokio::task::LocalSet::new();
    let size = Size {
        cores: Cores::Any,
        ..Size::large(2, SENSIBLE)
    };
    local.run_until(beside_nginx(&size)).await;
}

impl Size {
    fn large(workers: usize, limits: &'static str) -> Size {
        let number =
            |name: &str, or: u64| std::env::var(name).map_or(or, |text| text.parse().unwrap());
        let seconds = number("LAMEDUCK_TEST_SECONDS", 5);
        Size {
            workers,
            cores: match workers {
                1 => Cores::One,
                _ => Cores::Each,
            },
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
    echoing: Echoing,
    files: TempDir,
}

impl Scene {
    async fn new(size: &Size) -> Scene {
        let (agent, echoing) = (Chatty::start(), Echoing::start().await);
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
            echoing,
            files,
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
    match size.cores {
        Cores::Any => {}
        Cores::One => {
            cores::keep_process_on(scene.proxy.pid, 0);
            cores::keep_this_on(1);
        }
        Cores::Each => cores::spread(scene.proxy.pid, "lameduck-worker", size.workers),
    }
    let targets = &scene.targets;
    let crowd = come(targets, size).await;
    let (mut faults, mut all_quiet, mut all_under) = (Vec::new(), Vec::new(), Vec::new());
    for (deed, at_once) in chosen() {
        let name = format!("{deed:?}");
        let at_once = (at_once / size.share).max(2);
        let (mut quiet, mut under) = (Vec::new(), Vec::new());
        for _ in 0..size.rounds {
            quiet.push(look(&crowd, size.length / 2).await);
            let (waits, found) = one(&scene, &crowd, deed, at_once, size).await;
            under.push(waits.p99);
            faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
        }
        all_quiet.extend(&quiet);
        let (quiet, under) = (median(quiet), median(under));
        println!(
            "    p99 {under:.0?}, quiet {quiet:.0?}: medians of {}",
            size.rounds
        );
        all_under.push((name, under));
    }
    let quiet = median(all_quiet);
    println!("p99 of all quiet looks: {quiet:.0?}, their median");
    for (name, under) in all_under {
        if size.judged && under > quiet * 2 + NOISE {
            faults.push(format!("{name}: p99 {under:.0?}, quiet {quiet:.0?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The attacks that were asked for, or all of them.
fn chosen() -> Vec<(Deed, usize)> {
    let only = std::env::var("LAMEDUCK_TEST_ATTACKS").unwrap_or_default();
    let is_meant =
        |deed: Deed| only.is_empty() || only.split(',').any(|it| it == format!("{deed:?}"));
    let attacks = ATTACKS.into_iter();
    attacks.filter(|(deed, _)| is_meant(*deed)).collect()
}

/// The crowd, which has found its pace.
async fn come(to: &Targets, size: &Size) -> Crowd {
    let (plain, secure) = ((to.plain, size.plain), (to.secure, size.secure));
    let crowd = Crowd::come(plain, secure, to.tls.clone()).await;
    // The first answers find everything cold.
    tokio::time::sleep(size.length / 4).await;
    crowd
}

/// The p99 of what the crowd waits from now on.
async fn look(crowd: &Crowd, length: Duration) -> Duration {
    crowd.waited();
    tokio::time::sleep(length).await;
    let (waits, lost) = crowd.waited();
    assert!(lost.is_empty(), "{lost:?}");
    waits.p99
}

/// The same attacks on the proxy and on nginx, and what their sessions feel; and what sessions of the
/// proxy feel while nginx is attacked: so much comes of sharing the machine.
async fn beside_nginx(size: &Size) {
    let scene = Scene::new(size).await;
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| scene.files.path().join(name));
    let agents = [scene.echoing.addr, scene.agent.addr];
    let nginx = Nginx::start(size.workers, &certificate, &key, agents, &scene.targets);
    let nginx = nginx.await;
    let (ours, theirs) = (&scene.targets, &nginx.targets);
    let mut faults = Vec::new();
    for (deed, at_once) in chosen() {
        if !ON_NGINX_TOO.contains(&deed) {
            continue;
        }
        let mut p99 = Vec::new();
        for (visited, attacked) in [(ours, ours), (theirs, theirs), (ours, theirs)] {
            let crowd = come(visited, size).await;
            let (mut quiet, mut under) = (Vec::new(), Vec::new());
            for _ in 0..size.rounds {
                quiet.push(look(&crowd, size.length / 2).await);
                let attack = Attack::begin(deed, at_once, attacked);
                under.push(look(&crowd, size.length).await);
                tokio::task::spawn_blocking(|| attack.end()).await.unwrap();
            }
            p99.push((median(quiet), median(under)));
        }
        let [ours, theirs, elsewhere] = p99[..] else {
            unreachable!("three were looked at");
        };
        println!(
            "{deed:?}: p99 quiet and under attack, of the proxy {ours:.2?}, of nginx {theirs:.2?}, of the \
             proxy while nginx is attacked {elsewhere:.2?}"
        );
        if ours.1 > theirs.1 + SLICE {
            faults.push(format!("{deed:?}: {ours:?}, nginx {theirs:?}"));
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
