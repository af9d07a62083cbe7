//! What /metrics says of sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::Result;
use crate::proxy::get;

/// The counts of one listener and kind.
#[derive(Default)]
struct Counts {
    opened: u64,
    open: u64,
    ended: u64,
}

/// All of them, at a moment.
pub(crate) struct Scrape(BTreeMap<String, Counts>);

impl Scrape {
    pub(crate) fn of(health: SocketAddr) -> Result<Self> {
        let mut all: BTreeMap<String, Counts> = BTreeMap::new();
        for line in get(health, "/metrics")?.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Some((name, labels)) = series.split_once('{') else {
                continue;
            };
            // `outcome` is the last, where it is there.
            let whose = labels.split(",outcome").next().unwrap_or(labels);
            let whose = whose.trim_end_matches('}').to_owned();
            let count = |of: fn(&mut Counts) -> &mut u64, all: &mut BTreeMap<String, Counts>| {
                *of(all.entry(whose).or_default()) += value.parse::<u64>()?;
                Result::Ok(())
            };
            match name {
                "lameduck_sessions_opened_total" => count(|counts| &mut counts.opened, &mut all)?,
                "lameduck_sessions_open" => count(|counts| &mut counts.open, &mut all)?,
                "lameduck_sessions_ended_total" => count(|counts| &mut counts.ended, &mut all)?,
                _ => {}
            }
        }
        Ok(Self(all))
    }

    /// Sessions that are open.
    pub(crate) fn open(&self) -> u64 {
        self.0.values().map(|counts| counts.open).sum()
    }

    /// Whether every session that was opened is open or has ended.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.values().all(|counts| counts.opened == 0) {
            return Err("no session was counted".into());
        }
        for (
            whose,
            Counts {
                opened,
                open,
                ended,
            },
        ) in &self.0
        {
            if *opened != open + ended {
                return Err(format!("{whose}: {opened} opened, {open} open, {ended} ended").into());
            }
        }
        Ok(())
    }
}
