//! Target groups, version 2015-12-01.

use std::collections::BTreeMap;

use super::form::members;
use super::http::{Answer, Ask, unknown};
use super::{World, xml};

const SPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// The ARN of a target group of this name.
pub fn arn(name: &str) -> String {
    format!(
        "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/{name}/6d0ecf831eec9f09"
    )
}

/// A target group.
#[derive(Default)]
pub struct TargetGroup {
    /// The deregistration delay, in seconds.
    pub delay: u64,
    /// Other attributes.
    pub attributes: BTreeMap<String, String>,
    /// The state of each target, by id and port.
    pub targets: BTreeMap<(String, u16), String>,
}

impl TargetGroup {
    /// A group with this delay and these healthy targets.
    pub fn of(delay: u64, targets: &[(&str, u16)]) -> TargetGroup {
        let healthy = |(id, port): &(&str, u16)| (((*id).to_owned(), *port), "healthy".to_owned());
        TargetGroup {
            delay,
            attributes: BTreeMap::new(),
            targets: targets.iter().map(healthy).collect(),
        }
    }

    /// Puts a target, on all its ports, in a state.
    pub fn put(&mut self, id: &str, state: &str) {
        for ((_, _), now) in self.targets.iter_mut().filter(|((of, _), _)| of == id) {
            state.clone_into(now);
        }
    }
}

/// Answers a call.
pub fn answer(world: &mut World, ask: &Ask) -> Answer {
    let arn = ask.field("TargetGroupArn");
    let Some(group) = world.target_groups.get_mut(arn) else {
        if arn.is_empty() {
            return unknown(world, ask);
        }
        let message = format!("One or more target groups not found: {arn}");
        return xml::error(400, "TargetGroupNotFound", &message);
    };
    match ask.action.as_str() {
        "DescribeTargetHealth" => health(group, ask),
        "DescribeTargetGroupAttributes" => attributes(group, ask),
        "DeregisterTargets" => {
            let targets = members(&ask.fields, "Targets");
            for ((_, _), id) in targets.iter().filter(|((_, field), _)| *field == "Id") {
                group.put(id, "draining");
            }
            xml::response(SPACE, &ask.action, "")
        }
        _ => unknown(world, ask),
    }
}

fn health(group: &TargetGroup, ask: &Ask) -> Answer {
    let asked = members(&ask.fields, "Targets");
    let ids = asked
        .iter()
        .filter(|((_, field), _)| *field == "Id")
        .map(|((number, _), id)| {
            let port = asked.get(&(*number, "Port"));
            (*id, port.and_then(|port| port.parse::<u16>().ok()))
        });
    let of = |id: &str, port: Option<u16>| {
        let hit = |(of, at): &(String, u16)| of == id && port.is_none_or(|port| port == *at);
        let found: Vec<_> = group.targets.iter().filter(|(key, _)| hit(key)).collect();
        if found.is_empty() {
            return vec![member(id, port.unwrap_or(80), "unused")];
        }
        let member = |((id, port), state): (&(String, u16), &String)| member(id, *port, state);
        found.into_iter().map(member).collect()
    };
    let members: Vec<String> = if asked.is_empty() {
        let all = group.targets.iter();
        all.map(|((id, port), state)| member(id, *port, state))
            .collect()
    } else {
        ids.flat_map(|(id, port)| of(id, port)).collect()
    };
    let list = xml::list("TargetHealthDescriptions", members);
    xml::response(SPACE, &ask.action, &list)
}

fn member(id: &str, port: u16, state: &str) -> String {
    let port = port.to_string();
    let reason = match state {
        "healthy" => "",
        "draining" => "Target.DeregistrationInProgress",
        "unused" => "Target.NotRegistered",
        _ => "Target.FailedHealthChecks",
    };
    let mut health = xml::element("State", state);
    if !reason.is_empty() {
        health += &xml::element("Reason", reason);
    }
    let target = xml::elements(&[("Id", id), ("Port", &port)]);
    [
        xml::element("HealthCheckPort", &port),
        xml::element("Target", target),
        xml::element("TargetHealth", health),
    ]
    .concat()
}

fn attributes(group: &TargetGroup, ask: &Ask) -> Answer {
    let delay = group.delay.to_string();
    let delay = ("deregistration_delay.timeout_seconds", delay.as_str());
    let others = group.attributes.iter();
    let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
    let member = |(name, value)| xml::elements(&[("Key", name), ("Value", value)]);
    let members = std::iter::once(delay).chain(others).map(member);
    let list = xml::list("Attributes", members);
    xml::response(SPACE, &ask.action, &list)
}
