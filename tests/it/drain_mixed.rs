//! The drill: a crowd of every kind, a balancer that notices late, and a SIGTERM. Nobody may feel it
//! but by a polite Close.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::balancer::{Balancer, View};
use crate::harness::client::websocket::Record;
use crate::harness::client::{Style, http, tcp, websocket};
use crate::harness::ledger::{SHORTEST, Side};
use crate::harness::metrics::Scrape;
use crate::harness::proxy::Exit;
use crate::harness::python::PythonAgent;
use crate::harness::wire::End;
use crate::harness::{Proxy, within};

/// How many messages may cross the Close on the wire.
const MAY_CROSS: u64 = 2;

/// How much the busiest tenth of a second may exceed the mean.
const UNEVENNESS: f64 = 5.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_drained_without_anyone_noticing() {
    let agent = ChatAgent::Rust(WebSocketAgent::start());
    drill(agent, Size::SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_before_a_python_agent_is_drained_without_anyone_noticing() {
    let Some(agent) = PythonAgent::start_for("the drill with a Python agent").await else {
        return;
    };
    drill(ChatAgent::Python(agent), Size::SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn a_thousand_sessions_are_drained_without_anyone_noticing() {
    let Some(agent) = PythonAgent::start_for("the large drill").await else {
        return;
    };
    drill(ChatAgent::Python(agent), Size::LARGE).await;
}

/// How large a drill is.
struct Size {
    websockets: usize,
    tcp: usize,
    pollers: usize,
    slow: usize,
    events: usize,
    /// Between two messages of a session.
    pace: Duration,
    /// In seconds.
    window: u64,
    lame_duck_quiet: &'static str,
}

impl Size {
    const SMALL: Size = Size {
        websockets: 136,
        tcp: 40,
        pollers: 48,
        slow: 10,
        events: 6,
        pace: Duration::from_millis(250),
        window: 10,
        lame_duck_quiet: "1s",
    };

    const LARGE: Size = Size {
        websockets: 570,
        tcp: 170,
        pollers: 200,
        slow: 40,
        events: 20,
        pace: Duration::from_millis(500),
        window: 30,
        lame_duck_quiet: "3s",
    };
}

/// What stands behind the WebSockets.
enum ChatAgent {
    Rust(WebSocketAgent),
    Python(PythonAgent),
}

impl ChatAgent {
    fn addr(&self) -> SocketAddr {
        match self {
            ChatAgent::Rust(agent) => agent.agent.addr,
            ChatAgent::Python(agent) => agent.addr,
        }
    }

    async fn sides(&self, names: &[String]) -> HashMap<String, Side> {
        match self {
            ChatAgent::Rust(agent) => agent.ledger.sides(names).await,
            ChatAgent::Python(agent) => agent.sides(names).await,
        }
    }
}

/// Two drills at once would disturb each other's pace, be they in one process or in two.
pub(crate) fn one_at_a_time() -> std::fs::File {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/drill.lock");
    let file = std::fs::File::create(path).expect("a file that can be locked");
    file.lock().expect("a lock");
    file
}

async fn drill(chat: ChatAgent, size: Size) {
    let _alone = one_at_a_time();
    raise_descriptor_limit();
    let (web, raw) = (HttpAgent::start(), TcpAgent::start());
    let proxy = Proxy::builder()
        .listener("chat", "http", chat.addr())
        .listener("web", "http", web.agent.addr)
        .listener("raw", "tcp", raw.agent.addr)
        .window(&format!("{}s", size.window))
        .drain("lame_duck_quiet", &format!("\"{}\"", size.lame_duck_quiet))
        .start()
        .await;
    let balancer = Balancer::watch(proxy.health());
    let crowd = Crowd::gather(&proxy, &size, &balancer).await;
    proxy
        .metrics_until("the crowd", |scrape| crowd.is_counted_in(scrape, &size))
        .await;
    let slow = SlowRequests::ask(&proxy, &web, size.slow).await;

    let begun = proxy.terminate();
    let (arrivals, scrapes) = tokio::join!(
        arrive(&proxy, balancer.view()),
        scrape_until_the_end(&proxy)
    );
    let exit = proxy.exit_within(size.window + 10).await;

    let felt = within(20, "the crowd to have gone", crowd.felt(&chat, &raw)).await;
    let mut faults = Faults::default();
    faults.in_exit(exit, begun, &size);
    faults.in_scrapes(&scrapes, exit);
    faults.0.extend(arrivals.faults);
    faults.0.extend(slow.faults().await);
    faults.in_sessions(&felt);
    faults.in_loss(&felt, &scrapes, &proxy);
    faults.in_pace(&felt, begun);
    faults.in_log(&proxy);
    faults.in_report(&proxy, &size);
    println!(
        "{} arrivals served until the balancer looked away; {} polls answered",
        arrivals.served,
        felt.polls.iter().map(|poll| poll.answered).sum::<u64>()
    );
    assert!(
        arrivals.served > 0,
        "nobody arrived: the drill shows nothing"
    );
    assert!(
        faults.0.is_empty(),
        "{} faults:\n  {}",
        faults.0.len(),
        faults.0.join("\n  ")
    );
}

/// Sockets of a large drill need more descriptors than many shells give.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit can be raised to the hard one");
}

/// The long-lived clients.
struct Crowd {
    websockets: JoinSet<Record>,
    tcp: JoinSet<Record>,
    polls: JoinSet<http::PollRecord>,
    events: JoinSet<http::EventsRecord>,
}

impl Crowd {
    async fn gather(proxy: &Proxy, size: &Size, balancer: &Balancer) -> Crowd {
        let mut crowd = Crowd {
            websockets: JoinSet::new(),
            tcp: JoinSet::new(),
            polls: JoinSet::new(),
            events: JoinSet::new(),
        };
        let pace = size.pace;
        let every = pace.as_millis();
        let never = CancellationToken::new;
        for n in 0..size.websockets {
            let name = format!("ws-{n}");
            let (path, style) = match n % 5 {
                0 => (format!("/chat/{name}?every={every}"), Style::Chat(pace)),
                1 => (
                    format!("/chat/{name}?every={every}&parts=1"),
                    Style::ChatInParts(pace / 3),
                ),
                2 => (format!("/echo/{name}"), Style::Ask(pace)),
                3 => (format!("/chat/{name}?every={every}"), Style::Listen),
                _ => (format!("/quiet/{name}"), Style::Chat(pace)),
            };
            let wire = websocket::open(proxy.addr("chat"), &path).await.unwrap();
            crowd
                .websockets
                .spawn(async move { websocket::converse(wire, &name, style, never()).await });
        }
        for n in 0..size.tcp {
            let name = format!("tcp-{n}");
            let (path, style) = match n % 3 {
                0 => (format!("/chat/{name}?every={every}"), Style::Chat(pace)),
                1 => (format!("/echo/{name}"), Style::Ask(pace)),
                _ => (format!("/echo/{name}"), Style::Listen),
            };
            let wire = tcp::open(proxy.addr("raw"), &path).await.unwrap();
            crowd
                .tcp
                .spawn(async move { tcp::converse(wire, &name, style, never()).await });
        }
        let web = proxy.addr("web");
        for _ in 0..size.pollers {
            crowd
                .polls
                .spawn(http::poll(web, pace * 2, balancer.view()));
        }
        for _ in 0..size.events {
            crowd
                .events
                .spawn(http::events(web, "GET", "/events?every=200"));
        }
        crowd
    }

    fn is_counted_in(&self, scrape: &Scrape, size: &Size) -> bool {
        scrape.open("websocket") == size.websockets as f64
            && scrape.open("tcp") == size.tcp as f64
            && scrape.open("sse") == size.events as f64
    }

    async fn felt(self, chat: &ChatAgent, raw: &TcpAgent) -> Felt {
        let websockets = self.websockets.join_all().await;
        let tcp = self.tcp.join_all().await;
        let names = |records: &[Record]| -> Vec<String> {
            records.iter().map(|record| record.name.clone()).collect()
        };
        let chat = chat.sides(&names(&websockets)).await;
        let raw = raw.ledger.sides(&names(&tcp)).await;
        let meet = |records: Vec<Record>, agents: HashMap<String, Side>| -> Vec<Session> {
            let meet = |client: Record| Session {
                agent: agents[&client.name].clone(),
                client,
            };
            records.into_iter().map(meet).collect()
        };
        Felt {
            websockets: meet(websockets, chat),
            tcp: meet(tcp, raw),
            polls: self.polls.join_all().await,
            events: self.events.join_all().await,
        }
    }
}

/// Both sides of a session.
struct Session {
    client: Record,
    agent: Side,
}

/// What the crowd felt.
struct Felt {
    websockets: Vec<Session>,
    tcp: Vec<Session>,
    polls: Vec<http::PollRecord>,
    events: Vec<http::EventsRecord>,
}

/// Requests that are in flight when the drain begins.
struct SlowRequests(JoinSet<Result<(), String>>);

impl SlowRequests {
    async fn ask(proxy: &Proxy, web: &HttpAgent, count: usize) -> SlowRequests {
        let addr = proxy.addr("web");
        let mut requests = JoinSet::new();
        for n in 0..count {
            let path = format!("/slow?ms={}", 1500 + 4000 * n / count);
            requests.spawn(async move { http::fetch(addr, &path).await });
        }
        within(
            10,
            "the slow requests at the agent",
            web.has_seen(count, "/slow"),
        )
        .await;
        SlowRequests(requests)
    }

    async fn faults(self) -> Vec<String> {
        self.0
            .join_all()
            .await
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }
}

#[derive(Default)]
struct Arrivals {
    served: usize,
    faults: Vec<String>,
}

/// New sessions, steadily, for as long as the balancer sends them here. Each must be served.
async fn arrive(proxy: &Proxy, balancer: View) -> Arrivals {
    let (chat, web, raw) = (proxy.addr("chat"), proxy.addr("web"), proxy.addr("raw"));
    let mut sessions = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for n in 0.. {
        tokio::select! {
            _ = pace.tick() => {}
            () = balancer.looked_away() => break,
        }
        sessions.spawn(async move {
            match n % 3 {
                0 => http::fetch(web, "/arrival").await,
                1 => brief_websocket(chat, n).await,
                _ => brief_tcp(raw, n).await,
            }
        });
    }
    let ends = within(20, "the arrivals to be served", sessions.join_all()).await;
    let (served, faults): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    let faults = faults
        .into_iter()
        .filter_map(Result::err)
        .map(|f| format!("arrival: {f}"));
    Arrivals {
        served: served.len(),
        faults: faults.collect(),
    }
}

async fn brief_websocket(addr: SocketAddr, n: usize) -> Result<(), String> {
    use crate::harness::frames::{Frame, TEXT};
    use crate::harness::ledger::message;
    let mut wire = websocket::open(addr, &format!("/echo/arrival-{n}")).await?;
    let question = Frame::new(TEXT, message(0));
    let failed = |what| format!("websocket {n}: {what}");
    wire.send(question.masked())
        .await
        .map_err(|_| failed("no send"))?;
    let answer = Frame::read(&mut wire)
        .await
        .ok_or_else(|| failed("no answer"))?;
    if answer.payload != question.payload {
        return Err(failed(&format!("instead of an answer: {answer:?}")));
    }
    wire.send(Frame::close(1000).masked())
        .await
        .map_err(|_| failed("no Close sent"))?;
    let close = Frame::read(&mut wire)
        .await
        .ok_or_else(|| failed("no Close"))?;
    match close.close_code() {
        Some(1000) => Ok(()),
        _ => Err(failed(&format!("another Close: {close:?}"))),
    }
}

async fn brief_tcp(addr: SocketAddr, n: usize) -> Result<(), String> {
    use crate::harness::ledger::message;
    let mut wire = tcp::open(addr, &format!("/echo/arrival-tcp-{n}")).await?;
    let question = message(0) + "\n";
    let failed = |what: &str| format!("tcp {n}: {what}");
    wire.send(&question).await.map_err(|_| failed("no send"))?;
    match wire.until(b"\n").await {
        Some(answer) if answer == question.as_bytes() => {}
        other => return Err(failed(&format!("instead of an answer: {other:?}"))),
    }
    wire.finish().await;
    match wire.rest().await {
        (rest, End::Fin) if rest.is_empty() => Ok(()),
        other => Err(failed(&format!("at the end: {other:?}"))),
    }
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

/// What went wrong, in words; all of it, since one fault explains another.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    fn in_exit(&mut self, exit: Exit, begun: Instant, size: &Size) {
        let took = exit.at - begun;
        println!("the drain took {took:.1?} of {} s", size.window);
        if exit.code != Some(0) {
            self.add(format!("exit code {:?}", exit.code));
        }
        if took > Duration::from_secs(size.window) {
            self.add(format!("the drain took {took:?} of {} s", size.window));
        }
    }

    fn in_scrapes(&mut self, scrapes: &Scrapes, exit: Exit) {
        let mut phases: Vec<String> = scrapes.all.iter().map(Scrape::phase).collect();
        phases.dedup();
        let order = ["serving", "lame_duck", "draining", "closing", "drained"];
        let ranks: Vec<_> = phases
            .iter()
            .map(|p| order.iter().position(|o| o == p))
            .collect();
        if !ranks.is_sorted() || !phases.iter().any(|phase| phase == "closing") {
            self.add(format!("the scrapes show the phases {phases:?}"));
        }
        let faults = scrapes
            .all
            .iter()
            .filter_map(|scrape| scrape.check_balance().err());
        self.0.extend(faults);
        let early = |scrape: &&Scrape| matches!(&*scrape.phase(), "serving" | "lame_duck");
        for scrape in scrapes.all.iter().filter(early) {
            let refused = scrape.sum("lameduck_sessions_refused_total", &[]);
            if refused > 0.0 {
                self.add(format!("{refused} refused while {}", scrape.phase()));
            }
        }
        let dark = exit.at.saturating_duration_since(scrapes.last_at);
        if dark > Duration::from_secs(1) {
            self.add(format!("no metrics for the last {dark:?}"));
        }
    }

    fn in_sessions(&mut self, felt: &Felt) {
        for Session { client, agent } in &felt.websockets {
            let name = &client.name;
            for (who, side) in [("client", &client.side), ("agent", agent)] {
                if side.close.map(|close| close.code) != Some(1012) {
                    self.add(format!("{name}: the {who} saw the Close {:?}", side.close));
                }
            }
            if client.unanswered > 0 {
                self.add(format!(
                    "{name}: {} questions without answer",
                    client.unanswered
                ));
            }
        }
        for Session { client, agent } in felt.websockets.iter().chain(&felt.tcp) {
            let name = &client.name;
            for (who, side) in [("client", &client.side), ("agent", agent)] {
                if side.end != Some(End::Fin) {
                    self.add(format!("{name}: the {who} saw the end {:?}", side.end));
                }
                self.0.extend(
                    side.faults
                        .iter()
                        .map(|fault| format!("{name}: {who}: {fault}")),
                );
            }
        }
        let polls = felt.polls.iter().flat_map(|poll| &poll.faults);
        let events = felt.events.iter().flat_map(|events| &events.faults);
        self.0.extend(polls.chain(events).cloned());
    }

    fn in_loss(&mut self, felt: &Felt, scrapes: &Scrapes, proxy: &Proxy) {
        let (mut sent, mut lost) = (0, 0);
        for Session { client, agent } in felt.websockets.iter().chain(&felt.tcp) {
            for (from, to, way) in [
                (&client.side, agent, "to the agent"),
                (agent, &client.side, "to the client"),
            ] {
                sent += from.sent;
                match to.missing_from(from) {
                    Ok(0) => {}
                    Ok(missing) => {
                        lost += missing;
                        println!("{}: {missing} of {} lost {way}", client.name, from.sent);
                    }
                    Err(fault) => self.add(format!("{}: {way}: {fault}", client.name)),
                }
            }
        }
        let scraped = scrapes.all.last().map_or(0.0, |scrape| {
            scrape.sum("lameduck_undelivered_bytes_total", &[])
        });
        let report = proxy.report();
        let told = report["undelivered_bytes"]
            .as_object()
            .expect("bytes by direction");
        let undelivered: f64 = told.values().filter_map(serde_json::Value::as_f64).sum();
        let counted = scraped.max(undelivered);
        println!("{lost} of {sent} messages lost, {counted} bytes counted as undelivered");
        if lost > MAY_CROSS {
            self.add(format!("{lost} of {sent} messages lost"));
        }
        if counted < (lost as usize * SHORTEST) as f64 {
            self.add(format!(
                "{lost} messages lost, but only {counted} bytes counted"
            ));
        }
    }

    /// The report tells what the clients felt.
    fn in_report(&mut self, proxy: &Proxy, size: &Size) {
        let report = proxy.report();
        let count = |kind: &str, outcome: &str| {
            report["kinds"][kind]["outcomes"][outcome]
                .as_u64()
                .unwrap_or(0) as usize
        };
        let closed = [
            ("websocket", size.websockets),
            ("tcp", size.tcp),
            ("sse", size.events),
        ];
        for (kind, expected) in closed {
            if count(kind, "closed") != expected {
                self.add(format!(
                    "{} of {expected} {kind} closed",
                    count(kind, "closed")
                ));
            }
        }
        for kind in ["websocket", "tcp", "sse", "http"] {
            for outcome in ["cut", "failed"] {
                if count(kind, outcome) > 0 {
                    self.add(format!("{} {kind} {outcome}", count(kind, outcome)));
                }
            }
        }
    }

    /// No line per session, none that cries wolf, and the results' stream is left alone.
    fn in_log(&mut self, proxy: &Proxy) {
        let events = proxy.log.events();
        if events.len() > 60 {
            self.add(format!("{} lines in the log", events.len()));
        }
        let loud = events
            .iter()
            .filter(|event| !matches!(&*event.level, "INFO" | "DEBUG"));
        self.0
            .extend(loud.map(|event| format!("{}: {}", event.level, event.message)));
        self.0.extend(
            proxy
                .stdout
                .lines()
                .into_iter()
                .map(|line| format!("on stdout: {line}")),
        );
    }

    fn in_pace(&mut self, felt: &Felt, begun: Instant) {
        let since = |at: Instant| at - begun;
        let closes = felt
            .websockets
            .iter()
            .filter_map(|s| s.client.side.close.map(|c| c.at));
        let ends = felt.tcp.iter().filter_map(|s| s.client.side.ended_at);
        let events = felt.events.iter().filter_map(|events| events.ended_at);
        let websockets: Vec<Duration> = closes.map(since).collect();
        let tcp: Vec<Duration> = ends.map(since).collect();
        let streams: Vec<Duration> = events.map(since).collect();
        let mut gone = [&websockets[..], &tcp, &streams].concat();
        gone.sort();
        let (first, last) = (gone[0], gone[gone.len() - 1]);
        let tenths = (last - first).as_secs_f64() * 10.0;
        let mean = gone.len() as f64 / tenths.max(1.0);
        let tenth = Duration::from_millis(100);
        let most = gone.iter().map(|&from| {
            gone.iter()
                .filter(|&&at| at >= from && at < from + tenth)
                .count()
        });
        let most = most.max().unwrap_or(0) as f64;
        for (kind, gone) in [("websocket", websockets), ("tcp", tcp), ("sse", streams)] {
            let worst = gone.iter().max_by_key(|&&from| {
                gone.iter()
                    .filter(|&&at| at >= from && at < from + tenth)
                    .count()
            });
            println!(
                "{kind}: {} closings, the most from {:.1?} on",
                gone.len(),
                worst.copied().unwrap_or_default()
            );
        }
        println!(
            "{} closings from {first:.1?} to {last:.1?}, {mean:.2} in 100 ms on average, {most} at most",
            gone.len()
        );
        if most > UNEVENNESS * mean {
            self.add(format!(
                "{most} closings in 100 ms, with a mean of {mean:.2}"
            ));
        }
    }
}
