//! The soak: chat, churn, requests and slow readers for many minutes, while memory and descriptors are watched.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Keep, Lanes, Message, Protocol, Request};
use crate::metrics::Scrape;
use crate::proxy::{Proxy, Setup};
use crate::slow_readers::SlowReaders;
use crate::stats::{at, shown};
use crate::task::{descriptors, resident};

/// Between two looks; a shorter soak has eight all the same.
const LOOK: Duration = Duration::from_secs(30);
const LOOKS: u32 = 8;
/// A process is still growing into its load before: then only counts are judged.
const JUDGED: Duration = Duration::from_secs(300);
/// What memory may grow from the second quarter to the last: this share, and so many bytes.
const SHARE: f64 = 0.05;
const BYTES: f64 = 1024.0 * 1024.0;
/// What descriptors may: connections to the agent come and go with the requests of a moment.
const DESCRIPTORS: f64 = 16.0;

/// One look.
struct Look {
    resident: f64,
    descriptors: f64,
}

pub(crate) fn run(ground: &Ground, length: Duration) -> Result<()> {
    let setup = Setup {
        protocol: Protocol::WebSocket,
        workers: 2,
        on: On::All,
        window: None,
    };
    let (proxy, mut lanes) = Proxy::start(ground, setup)?;
    open(&mut lanes, ground)?;
    let mut readers = SlowReaders::start(proxy.clients(), ground.or_smoke(50, 5));
    let every = LOOK.min(length / LOOKS);
    let (begun, meter) = (Instant::now(), proxy.meter());
    println!("\nSoak of {} s", shown(length.as_secs_f64()));
    println!(
        "  {:>7}  {:>8}  {:>11}  {:>8}  {:>15}  {:>11}  {:>12}",
        "minute",
        "RSS, MiB",
        "descriptors",
        "sessions",
        "CPU a turn, µs",
        "turns a s",
        "slow readers"
    );
    let mut looks = Vec::new();
    while begun.elapsed() < length {
        let start = Instant::now();
        let (spent, delays) = meter.cpu_of(|| lanes.run_paced(every))?;
        let lasted = start.elapsed();
        let scrape = Scrape::of(proxy.health)?;
        scrape.check()?;
        let look = Look {
            resident: resident(proxy.pid())? as f64,
            descriptors: descriptors(proxy.pid())? as f64,
        };
        println!(
            "  {:>7.1}  {:>8.2}  {:>11}  {:>8}  {:>15}  {:>11}  {:>12}",
            begun.elapsed().as_secs_f64() / 60.0,
            look.resident / BYTES,
            look.descriptors,
            scrape.open(),
            shown(spent.as_secs_f64() * 1e6 / delays.len() as f64),
            shown(delays.len() as f64 / lasted.as_secs_f64()),
            readers.begun()?,
        );
        looks.push(look);
    }
    println!("  at each look: opened = open + ended");
    if length < JUDGED {
        println!("  too short for a word on memory and descriptors");
        return Ok(());
    }
    judge(&looks)
}

/// What goes on all the time: a WebSocket chat, requests small and large, and new connections.
fn open(lanes: &mut Lanes, ground: &Ground) -> Result<()> {
    let message: Rc<dyn Exchange> = Rc::new(Message::new(Protocol::WebSocket));
    let get: Rc<dyn Exchange> = Rc::new(Request::get());
    let post: Rc<dyn Exchange> = Rc::new(Request::post());
    let last_get: Rc<dyn Exchange> = Rc::new(Request::get_and_close());
    for (count, exchange, keep, period) in [
        (1000, &message, Keep::Open, 1000),
        (50, &get, Keep::Open, 100),
        (20, &post, Keep::Open, 400),
        (50, &last_get, Keep::Once, 500),
        (50, &message, Keep::Once, 500),
    ] {
        let count = ground.or_smoke(count, count.min(10));
        lanes.open(count, exchange, keep, Duration::from_millis(period))?;
    }
    Ok(())
}

/// Compares the last quarter with the second: the first is still growing into its load.
fn judge(looks: &[Look]) -> Result<()> {
    let quarter = looks.len() / 4;
    let (second, last) = (
        &looks[quarter..2 * quarter],
        &looks[looks.len() - quarter..],
    );
    let median = |looks: &[Look], of: fn(&Look) -> f64| at(looks.iter().map(of), 0.5);
    let mut grown = Vec::new();
    for (what, unit, of, share, more) in [
        (
            "RSS",
            BYTES,
            (|look| look.resident) as fn(&Look) -> f64,
            SHARE,
            BYTES,
        ),
        (
            "descriptors",
            1.0,
            |look| look.descriptors,
            0.0,
            DESCRIPTORS,
        ),
    ] {
        let (then, now) = (median(second, of), median(last, of));
        let flat = now <= then * (1.0 + share) + more;
        let verdict = if flat { "flat" } else { "growing" };
        println!(
            "  {what}: {} in the second quarter, {} in the last: {verdict}",
            shown(then / unit),
            shown(now / unit)
        );
        grown.extend((!flat).then_some(what));
    }
    match grown.is_empty() {
        true => Ok(()),
        false => Err(format!("grows: {}", grown.join(", ")).into()),
    }
}
