//! The drill: a crowd of every kind, a balancer that notices late, and a SIGTERM. Nobody may feel it
//! but by a polite Close.

pub(crate) mod arrivals;
pub(crate) mod crowd;
mod faults;
pub(crate) mod fronts;
mod over_tls;
pub(crate) mod pace;
pub(crate) mod tally;

use std::time::{Duration, Instant};

use arrivals::arrive;
use crowd::{Agents, ChatAgent, Crowd, Manners, Size, SlowRequests};
use faults::Faults;
use fronts::Fronts;
use over_tls::Tls;
use tally::{Drained, Tally};

use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::balancer::Balancer;
pub(crate) use crate::harness::descriptors::raise_descriptor_limit;
use crate::harness::metrics::Scrape;
use crate::harness::python::PythonAgent;
use crate::harness::secured::Certified;
use crate::harness::vitals::Watch;
use crate::harness::{Proxy, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_drained_without_anyone_noticing() {
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    drill(agent, Drill::SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_before_a_python_agent_is_drained_without_anyone_noticing() {
    let Some(agent) = PythonAgent::start_for("the drill with a Python agent").await else {
        return;
    };
    drill(ChatAgent::Python(agent), Drill::SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_thousand_sessions_before_a_python_agent_are_drained_without_anyone_noticing() {
    let Some(agent) = PythonAgent::start_for("the large drill").await else {
        return;
    };
    drill(ChatAgent::Python(agent), Drill::PYTHON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_is_drained_in_half_a_minute() {
    lively(30, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_is_drained_in_ten_seconds() {
    lively(10, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_far_away_is_drained_in_half_a_minute() {
    lively(30, ONE_WAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_lively_thousand_far_away_is_drained_in_ten_seconds() {
    lively(10, ONE_WAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drain-large"]
async fn thousands_of_websockets_are_drained_without_growing() {
    let size = Size {
        websockets: setting("LAMEDUCK_TEST_SESSIONS", 8_000) as usize,
        tcp: 0,
        pollers: 0,
        slow: 0,
        events: 0,
        manners: Manners::Calm,
    };
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    drill(
        agent,
        Drill {
            size,
            window: setting("LAMEDUCK_TEST_WINDOW", 60),
            lame_duck_quiet: "3s",
            one_way: Duration::ZERO,
            tls: None,
            unevenness: 4.0,
            vitals: Some(Bounds {
                plan: 64,
                answer: Duration::from_millis(50),
            }),
        },
    )
    .await;
}

/// A number that the recipe gives, or the usual one.
pub(crate) fn setting(name: &str, usual: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(usual, |text| text.parse().expect(name))
}

async fn lively(window: u64, one_way: Duration) {
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    drill(agent, Drill::lively(window, one_way)).await;
}

/// From a client to the proxy, where there is a distance.
pub(crate) const ONE_WAY: Duration = Duration::from_millis(30);

/// 1,050 sessions and requests of every kind.
pub(crate) const THOUSAND: Size = Size {
    websockets: 570,
    tcp: 170,
    pollers: 190,
    slow: 40,
    events: 80,
    manners: Manners::Lively,
};

/// A crowd, and how it is drained.
struct Drill {
    size: Size,
    /// In seconds.
    window: u64,
    lame_duck_quiet: &'static str,
    one_way: Duration,
    /// What the clients speak TLS with, where every session is over it.
    tls: Option<Tls>,
    /// How much the busiest tenth of a second may exceed the mean.
    unevenness: f64,
    /// What the proxy itself may show of it, where that is looked at.
    vitals: Option<Bounds>,
}

/// What the vital signs may be.
struct Bounds {
    /// The bytes that a session may take in the plan of who goes when, which is made once.
    plan: u64,
    /// The slowest answer on the health listener.
    answer: Duration,
}

impl Drill {
    const SMALL: Drill = Drill {
        size: Size {
            websockets: 136,
            tcp: 40,
            pollers: 48,
            slow: 10,
            events: 6,
            manners: Manners::Even(Duration::from_millis(250)),
        },
        window: 10,
        lame_duck_quiet: "1s",
        one_way: Duration::ZERO,
        tls: None,
        unevenness: 5.0,
        vitals: None,
    };

    const PYTHON: Drill = Drill {
        size: Size {
            websockets: 570,
            tcp: 170,
            pollers: 200,
            slow: 40,
            events: 20,
            manners: Manners::Even(Duration::from_millis(500)),
        },
        window: 30,
        lame_duck_quiet: "3s",
        ..Drill::SMALL
    };

    fn lively(window: u64, one_way: Duration) -> Drill {
        Drill {
            size: THOUSAND,
            window,
            lame_duck_quiet: "1s",
            one_way,
            tls: None,
            unevenness: 4.0,
            vitals: None,
        }
    }

    fn is_far(&self) -> bool {
        !self.one_way.is_zero()
    }
}

/// Two drills at once would disturb each other's pace, be they in one process or in two.
pub(crate) fn one_at_a_time() -> std::fs::File {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/drill.lock");
    let file = std::fs::File::create(path).expect("a file that can be locked");
    file.lock().expect("a lock");
    file
}

/// Starts the proxy before these agents.
async fn start(
    agents: &Agents,
    window: u64,
    lame_duck_quiet: &str,
    certified: Option<&Certified>,
) -> Proxy {
    // `client` or `agent` shows what the choice of the side is worth.
    let order = std::env::var("LAMEDUCK_TEST_CLOSE_ORDER").unwrap_or("auto".to_owned());
    let listeners = [
        ("chat", "http", agents.chat.addr()),
        ("web", "http", agents.web.agent.addr),
        ("raw", "tcp", agents.raw.agent.addr),
    ];
    let mut proxy = Proxy::builder();
    for (name, protocol, agent) in listeners {
        proxy = proxy.listener(name, protocol, agent);
        if let Some(certified) = certified {
            proxy = certified.secures(proxy);
        }
    }
    proxy
        .window(&format!("{window}s"))
        .drain("lame_duck_quiet", &format!("\"{lame_duck_quiet}\""))
        .drain("close_order", &format!("\"{order}\""))
        .start()
        .await
}

/// The listeners of a proxy that [`start`] started.
fn fronts(proxy: &Proxy) -> Fronts {
    Fronts {
        chat: proxy.addr("chat"),
        web: proxy.addr("web"),
        raw: Some(proxy.addr("raw")),
    }
}

/// Drains, and judges it by all that a drain promises.
async fn drill(chat: ChatAgent, drill: Drill) {
    let _alone = one_at_a_time();
    raise_descriptor_limit();
    let (tally, faults) = drained(chat, &drill).await;
    let head = format!("{} s, {:?} away", drill.window, drill.one_way);
    tally::show(&[(head, tally)]);
    faults.assert_none();
}

/// The figures of a drain from afar, beside which peers are put.
pub(crate) async fn rehearse(window: u64) -> Tally {
    let chat = ChatAgent::Rust(WebSocketAgent::start());
    let (tally, _) = drained(chat, &Drill::lively(window, ONE_WAY)).await;
    tally
}

async fn drained(chat: ChatAgent, drill: &Drill) -> (Tally, Faults) {
    let size = &drill.size;
    let agents = Agents::beside(chat);
    let certified = drill.tls.map(|_| Certified::new());
    let quiet = drill.lame_duck_quiet;
    let proxy = start(&agents, drill.window, quiet, certified.as_ref()).await;
    let mut far = fronts(&proxy).seen_from_afar(drill.one_way).await;
    if let (Some(tls), Some(certified)) = (drill.tls, &certified) {
        far = far.over(tls, certified).await;
    }
    let balancer = Balancer::watch(proxy.health());
    let crowd = Crowd::gather(far.fronts, size, &balancer).await;
    proxy
        .metrics_until("the crowd", |scrape| crowd.is_counted_in(scrape, size))
        .await;
    let bounds = drill.vitals.as_ref();
    let watch = bounds.map(|_| Watch::over(proxy.pid, proxy.health()));
    size.manners.are_shown().await;
    let slow = SlowRequests::ask(far.fronts.web, &agents.web, size.slow).await;

    let begun = proxy.terminate();
    watch.iter().for_each(|watch| watch.begins(begun));
    let (arrivals, scrapes) = tokio::join!(
        arrive(far.fronts, balancer.view()),
        scrape_until_the_end(&proxy)
    );
    let exit = proxy.exit_within(drill.window + 10).await;

    let felt = within(20, "the crowd to have gone", crowd.felt(&agents)).await;
    let slow = slow.faults().await;
    let ends = within(20, "the ends over OpenSSL", far.ends_over_openssl()).await;
    let mut faults = Faults::default();
    faults.in_exit(exit, begun, drill);
    faults.in_scrapes(&scrapes, exit);
    faults.in_sessions(&felt, drill);
    let undelivered = faults.in_loss(&felt, &scrapes, &proxy, drill);
    faults.in_pace(&felt, begun, drill);
    faults.in_log(&proxy);
    faults.in_report(&proxy, size);
    let mut tally = Tally::of(&Drained {
        felt: &felt,
        arrivals: &arrivals,
        slow: (&slow, size.slow),
        begun,
        exit: Some(exit),
        undelivered: Some(undelivered),
    });
    if let Some(ends) = ends {
        faults.in_tls(ends, &mut tally);
    }
    if let (Some(watch), Some(bounds)) = (watch, bounds) {
        faults.in_vitals(&watch.ended(), bounds, size.websockets, &mut tally);
    }
    faults.add_all(arrivals.faults);
    faults.add_all(slow);
    assert!(
        arrivals.served > 0,
        "nobody arrived: the drill shows nothing"
    );
    (tally, faults)
}

struct Scrapes {
    all: Vec<Scrape>,
    last_at: Instant,
}

/// A scrape each 200 ms until the health listener has gone.
async fn scrape_until_the_end(proxy: &Proxy) -> Scrapes {
    let mut scrapes = Scrapes {
        all: Vec::new(),
        last_at: Instant::now(),
    };
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    loop {
        pace.tick().await;
        let Ok(scrape) = within(10, "a scrape", proxy.scrape()).await else {
            return scrapes;
        };
        scrapes.all.push(scrape);
        scrapes.last_at = Instant::now();
    }
}
