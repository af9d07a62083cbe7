//! What went wrong in a drill, judged against everything that a drain promises.

use std::time::{Duration, Instant};

use super::crowd::{Felt, Session, Size};
use super::pace::Pace;
use super::tally::Tally;
use super::{Bounds, Drill, Scrapes};
use crate::harness::Proxy;
use crate::harness::ledger::SHORTEST;
use crate::harness::manners::Sort;
use crate::harness::metrics::Scrape;
use crate::harness::proxy::Exit;
use crate::harness::stunnel::Ends;
use crate::harness::vitals::Vitals;
use crate::harness::wire::End;

/// How many messages may cross the Close on the wire.
const MAY_CROSS: u64 = 2;

/// What went wrong, in words; all of it, since one fault explains another.
#[derive(Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    pub(crate) fn add_all(&mut self, faults: Vec<String>) {
        self.0.extend(faults);
    }

    pub(crate) fn assert_none(&self) {
        assert!(
            self.0.is_empty(),
            "{} faults:\n  {}",
            self.0.len(),
            self.0.join("\n  ")
        );
    }

    pub(crate) fn in_exit(&mut self, exit: Exit, begun: Instant, drill: &Drill) {
        let took = exit.at - begun;
        println!("the drain took {took:.1?} of {} s", drill.window);
        if exit.code != Some(0) {
            self.add(format!("exit code {:?}", exit.code));
        }
        if took > Duration::from_secs(drill.window) {
            self.add(format!("the drain took {took:?} of {} s", drill.window));
        }
    }

    pub(crate) fn in_scrapes(&mut self, scrapes: &Scrapes, exit: Exit) {
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

    pub(crate) fn in_sessions(&mut self, felt: &Felt, drill: &Drill) {
        for Session { client, agent, .. } in &felt.websockets {
            let name = &client.name;
            for (who, side) in [("client", &client.side), ("agent", agent)] {
                if side.close.map(|close| close.code) != Some(1012) {
                    self.add(format!("{name}: the {who} saw the Close {:?}", side.close));
                }
            }
            // Where requests may cross a Close, they are counted with what is lost.
            if client.unanswered > 0 && !drill.size.manners.may_cross() {
                self.add(format!(
                    "{name}: {} questions without answer",
                    client.unanswered
                ));
            }
        }
        for Session { client, agent, .. } in felt.websockets.iter().chain(&felt.tcp) {
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

    /// Gives the bytes that the proxy counted as undelivered.
    pub(crate) fn in_loss(
        &mut self,
        felt: &Felt,
        scrapes: &Scrapes,
        proxy: &Proxy,
        drill: &Drill,
    ) -> u64 {
        let (mut lost, mut crossed) = (0, 0);
        for session in felt.websockets.iter().chain(&felt.tcp) {
            let Session { client, agent, .. } = session;
            let mut of_session = 0;
            for (from, to, way) in [
                (&client.side, agent, "to the agent"),
                (agent, &client.side, "to the client"),
            ] {
                match to.missing_from(from) {
                    Ok(0) => {}
                    Ok(missing) => {
                        of_session += missing;
                        let (sort, sent) = (session.sort, from.sent);
                        println!("{} ({sort:?}): {missing} of {sent} lost {way}", client.name);
                    }
                    Err(fault) => self.add(format!("{}: {way}: {fault}", client.name)),
                }
            }
            lost += of_session;
            // From afar, what both sides say unasked crosses on the wire. That is counted, by the proxy.
            if !(drill.is_far() && session.sort == Sort::Chatter) {
                // A request that crosses the Close is lost itself, or its answer is.
                crossed += of_session.max(session.unanswered());
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
        if crossed > MAY_CROSS {
            self.add(format!("{crossed} messages lost or left unanswered"));
        }
        if counted < (lost as usize * SHORTEST) as f64 {
            self.add(format!(
                "{lost} messages lost, but only {counted} bytes counted"
            ));
        }
        counted as u64
    }

    /// The report tells what the clients felt.
    pub(crate) fn in_report(&mut self, proxy: &Proxy, size: &Size) {
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
    pub(crate) fn in_log(&mut self, proxy: &Proxy) {
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

    pub(crate) fn in_pace(&mut self, felt: &Felt, begun: Instant, drill: &Drill) {
        let pace = Pace::of(felt, begun);
        println!("{pace}");
        let (mean, most) = pace.in_a_tenth();
        if most > drill.unevenness * mean {
            self.add(format!(
                "{most} closings in 100 ms, with a mean of {mean:.2}"
            ));
        }
    }

    /// A close_notify ends each connection: in plain, a relay over OpenSSL shows every end as a FIN.
    pub(crate) fn in_tls(&mut self, ends: Ends, tally: &mut Tally) {
        let Ends { connections, torn } = ends;
        let with = connections - torn.len();
        tally.add(
            "connections ended by close_notify",
            format!("{with} of {connections}"),
        );
        let torn = torn.into_iter();
        self.0
            .extend(torn.map(|said| format!("no close_notify: {said}")));
    }

    /// Memory that does not grow, but for the plan of who goes when, and health that answers all the while.
    pub(crate) fn in_vitals(
        &mut self,
        vitals: &Vitals,
        bounds: &Bounds,
        sessions: usize,
        tally: &mut Tally,
    ) {
        let (before, first, second) = vitals.memory();
        let grown = 100.0 * (first.max(second) as f64 / before as f64 - 1.0);
        let memory =
            format!("{before} KiB; {first} at most, after half-time {second} ({grown:+.1} %)");
        let plan = bounds.plan * sessions as u64 / 1024;
        if first > before + plan || second > first + first / 50 {
            self.add(format!("memory before the drain {memory}"));
        }
        let slowest = vitals.slowest;
        let answer = format!(
            "{:.1?} of {} ({}, {:.1?} into the drain)",
            slowest.took, vitals.answers, slowest.path, slowest.at
        );
        if slowest.took > bounds.answer {
            self.add(format!("the slowest answer took {answer}"));
        }
        tally.add("memory before the drain", memory);
        tally.add("slowest health answer", answer);
    }
}
