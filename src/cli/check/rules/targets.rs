//! Target groups, of machines and of tasks.

use std::time::Duration;

use super::{cut, risky, secs, shorter_than_the_window};
use crate::config::{Config, Finding, Protocol, Readiness};
use crate::lifecycle::settings::{Balancer, BalancerKind, HealthCheck, TargetGroup};

/// So long an NLB goes on sending to a target that was deregistered.
const NLB_LOOKS_AWAY: Duration = Duration::from_secs(120);

/// Agents and libraries send a ping every 20 to 30 s.
const PINGS: Duration = Duration::from_secs(30);

/// TCP keep-alive, where it is on, begins after minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(120);

pub(super) fn all(targets: &[TargetGroup], config: &Config) -> Vec<Finding> {
    let mut found: Vec<_> = targets
        .iter()
        .flat_map(|target| one(target, config))
        .collect();
    found.extend(different_delays(targets, config));
    found
}

fn one(target: &TargetGroup, config: &Config) -> Vec<Finding> {
    let name = &target.name;
    let key = |attribute: &str| format!("target group {name}: {attribute}");
    let delay = key("deregistration_delay.timeout_seconds");
    let mut found: Vec<_> = shorter_than_the_window(&delay, target.delay, config)
        .into_iter()
        .collect();
    let attribute = key("target_health_state.unhealthy.connection_termination.enabled");
    found.extend(resets(target, attribute, config));
    if target.slow_start > Duration::ZERO {
        let what = format!(
            "for {} after a cancelled drain, clients are let in only slowly",
            secs(target.slow_start)
        );
        found.push(risky(
            key("slow_start.duration_seconds"),
            what,
            "set it to 0",
        ));
    }
    found.extend(health(target, &key("health check"), config));
    found.extend(sent_for_long(target, config));
    let bound = |port: u16| {
        config
            .listeners
            .iter()
            .any(|listener| listener.bind.port() == port)
    };
    if let Some(port) = target.port.filter(|port| !bound(*port)) {
        let what =
            format!("no listener is bound to {port}: its sessions do not go through the proxy");
        found.push(risky(
            key("port"),
            what,
            "send to the port of a [[listener]]",
        ));
    }
    found.extend(
        target
            .balancers
            .iter()
            .filter_map(|balancer| idle(target.kind, balancer, config)),
    );
    found
}

/// An NLB that resets the flows of a target which fails its check, as one does that drains.
fn resets(target: &TargetGroup, key: String, config: &Config) -> Option<Finding> {
    if target.kind != BalancerKind::Network || !target.resets_unhealthy {
        return None;
    }
    let help = "set it to false, or drain.readiness to \"keep\"";
    let what = "open flows are reset when readiness fails";
    match config.drain.readiness {
        Readiness::Keep => None,
        Readiness::Fail => Some(cut(
            key,
            format!("{what}, at the start of each drain"),
            help,
        )),
        Readiness::Auto => {
            let what = format!(
                "{what}, at the start of each drain that does not come from a deregistration"
            );
            Some(risky(key, what, help))
        }
    }
}

fn health(target: &TargetGroup, key: &str, config: &Config) -> Vec<Finding> {
    let HealthCheck { path, port, .. } = &target.health;
    let on_health = *port == Some(config.health.bind.port());
    let mut found = Vec::new();
    let asked = port.or(target.port);
    let mut listeners = config.listeners.iter();
    let own = listeners.find(|listener| Some(listener.bind.port()) == asked);
    let own = own.filter(|listener| listener.protocol == Protocol::Http);
    let own = own.and_then(|listener| listener.http.health_path.as_deref());
    let help = format!("check /readyz on port {}", config.health.bind.port());
    match path.as_deref() {
        Some("/readyz") if on_health => {}
        Some(path) if on_health && path == "/livez" => {
            let what = "/livez answers 200 during a drain: the balancer goes on sending";
            found.push(risky(key, what, help));
        }
        Some(path) if on_health => {
            let what = format!("`{path}` is not there: the target is never healthy");
            found.push(cut(key, what, help));
        }
        Some(path) if own == Some(path) => {}
        Some(path) => {
            let what = format!("`{path}` is answered by the agent, which knows nothing of a drain");
            found.push(risky(
                key,
                what,
                format!("{help}, or set http.health_path to it"),
            ));
        }
        None if on_health => {
            let what = "a mere connection succeeds during a drain: the balancer goes on sending";
            found.push(risky(key, what, help));
        }
        // The listener of the sessions closes in its time.
        None => {}
    }
    found.extend(late(target, key, config));
    found
}

/// A balancer that has not noticed when the proxy stops serving new sessions.
fn late(target: &TargetGroup, key: &str, config: &Config) -> Option<Finding> {
    let notices = target.health.interval * target.health.threshold;
    let longest = config
        .drain
        .lame_duck_max
        .within(config.drain.window.length);
    (config.drain.readiness != Readiness::Keep && notices >= longest).then(|| {
        let what = format!(
            "it takes {} ({} x {}) to look away, and drain.lame_duck_max is {}: arrivals meet a 503",
            secs(notices),
            secs(target.health.interval),
            target.health.threshold,
            secs(longest)
        );
        risky(key, what, "check more often, or lengthen drain.lame_duck_max")
    })
}

/// An NLB that goes on sending when the proxy stops serving new sessions.
fn sent_for_long(target: &TargetGroup, config: &Config) -> Option<Finding> {
    let longest = config
        .drain
        .lame_duck_max
        .within(config.drain.window.length);
    let is_late = target.kind == BalancerKind::Network && longest < NLB_LOOKS_AWAY;
    is_late.then(|| {
        let what = format!(
            "{} is less than an NLB goes on sending after a deregistration ({}): arrivals are refused",
            secs(longest),
            secs(NLB_LOOKS_AWAY)
        );
        risky("drain.lame_duck_max", what, "make it 120s or more, and the window longer than that")
    })
}

fn idle(kind: BalancerKind, balancer: &Balancer, config: &Config) -> Option<Finding> {
    let Balancer { name, idle } = balancer;
    let shown = secs(*idle);
    let silent = |key: String, what: String, help: &str| Some(risky(key, what, help));
    match kind {
        BalancerKind::Application => {
            let key = format!("ALB {name}: idle_timeout.timeout_seconds");
            let http = config
                .listeners
                .iter()
                .filter(|listener| listener.protocol == Protocol::Http);
            let shortest = http.map(|listener| listener.http.idle_timeout).min();
            if let Some(ours) = shortest.filter(|ours| ours <= idle) {
                let what = format!(
                    "{shown} is not below http.idle_timeout ({}): its clients see 502",
                    secs(ours)
                );
                return silent(
                    key,
                    what,
                    "make http.idle_timeout some seconds longer than it",
                );
            }
            if *idle <= PINGS {
                let what = format!("a WebSocket that is silent for {shown} is cut");
                return silent(
                    key,
                    what,
                    "make it longer than the agent's pings are apart, such as 60s",
                );
            }
        }
        BalancerKind::Network if *idle < KEEP_ALIVE => {
            let key = format!("NLB {name}: tcp.idle_timeout.seconds");
            let what = format!("a connection that is silent for {shown} is reset at its next byte");
            return silent(
                key,
                what,
                "make it longer than clients are silent; 350 is the default",
            );
        }
        BalancerKind::Network => {}
    }
    None
}

/// Several groups, of which the most hurried rules.
fn different_delays(targets: &[TargetGroup], config: &Config) -> Option<Finding> {
    let first = targets.iter().min_by_key(|target| target.delay)?;
    let last = targets.iter().max_by_key(|target| target.delay)?;
    (config.drain.window.auto && first.delay != last.delay).then(|| {
        let what = format!(
            "{} waits {}, {} waits {}: the drain of both takes no longer than the shorter",
            first.name,
            secs(first.delay),
            last.name,
            secs(last.delay)
        );
        risky(
            "deregistration_delay.timeout_seconds",
            what,
            "give both the same delay",
        )
    })
}
