//! Whether sessions are served alike when there are more workers than cores.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use lameduck::session::SessionId;

use crate::Result;
use crate::ground::{Ground, On};
use crate::load::{Exchange, Keep, Message, Protocol};
use crate::proxy::{Proxy, Setup, get};
use crate::stats::{at, shown};
use crate::table::Table;
use crate::task::threads;

const WORKERS: usize = 4;
/// The longest page that the control API gives.
const PAGE: usize = 1000;

pub(crate) fn table(ground: &Ground) -> Result<Table> {
    let setup = Setup {
        protocol: Protocol::WebSocket,
        workers: WORKERS,
        on: On::All,
        window: None,
    };
    let (proxy, mut lanes) = Proxy::start(ground, setup)?;
    let message: Rc<dyn Exchange> = Rc::new(Message::new(Protocol::WebSocket));
    let sessions = ground.sessions.min(2000);
    lanes.open(sessions, &message, Keep::Open, Duration::from_secs(1))?;
    let per_worker = sessions_by_worker(proxy.admin)?;
    lanes.run(ground.length)?;
    let asked: Vec<u64> = lanes.asked().collect();
    let before = threads(proxy.pid())?;
    lanes.run(ground.length * ground.or_smoke(10, 2))?;
    let after = threads(proxy.pid())?;
    let round_trips: Vec<f64> = lanes
        .asked()
        .zip(asked)
        .map(|(now, then)| (now - then) as f64)
        .collect();
    let busy: Vec<f64> = after
        .iter()
        .filter(|(_, thread)| thread.name.ends_with("-worker"))
        .filter_map(|(id, thread)| Some(thread.on_core - before.get(id)?.on_core))
        .map(|on_core| on_core.as_secs_f64() * 1e3)
        .collect();
    let trips = |share| at(round_trips.iter().copied(), share);
    let mut table = Table::of_figures(format!(
        "Fairness: {WORKERS} workers on {} cores, {sessions} WebSockets that chat",
        ground.cores.len()
    ));
    table.told(
        "sessions of each worker",
        "",
        listed(per_worker.values().map(|&n| n as f64)),
    );
    table.told("CPU of each worker", "ms", listed(busy.into_iter()));
    table.told("round trips of a session: median", "", shown(trips(0.5)));
    table.told(
        "round trips of a session: 5th percentile",
        "",
        shown(trips(0.05)),
    );
    table.told("round trips of a session: least", "", shown(trips(0.0)));
    let ratio = trips(0.05) / trips(0.5);
    table.told("5th percentile to median", "", shown(ratio));
    Ok(table)
}

fn listed(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<String> = values.map(shown).collect();
    values.join(" / ")
}

/// How many sessions each worker has: the id of a session says where it lives.
fn sessions_by_worker(admin: SocketAddr) -> Result<BTreeMap<u16, usize>> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = get(admin, &format!("/v1/sessions?limit={PAGE}&cursor={cursor}"))?;
        let page: serde_json::Value = serde_json::from_str(&page)?;
        for session in page["sessions"].as_array().ok_or("no list of sessions")? {
            let id: SessionId = session["id"].as_str().ok_or("no id")?.parse()?;
            *found.entry(id.worker().0).or_default() += 1;
        }
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(found),
        }
    }
}
