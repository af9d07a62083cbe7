//! Target groups, and the balancers that send to them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config;
use crate::lifecycle::aws::api::Api;
use crate::lifecycle::aws::balancing::{VERSION, call};
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::aws::form::Form;
use crate::lifecycle::aws::xml::Element;
use crate::lifecycle::settings::{Balancer, BalancerKind, HealthCheck, TargetGroup};

/// What a target group waits if nobody said otherwise.
const DEFAULT_DELAY: u64 = 300;

/// How these target groups are set.
pub(super) async fn targets(
    api: &Api,
    groups: &[config::TargetGroup],
) -> Result<Vec<TargetGroup>, Fault> {
    let mut found = Vec::new();
    for group in groups {
        found.push(one(api, group).await?);
    }
    Ok(found)
}

async fn one(api: &Api, group: &config::TargetGroup) -> Result<TargetGroup, Fault> {
    const NAME: &str = "DescribeTargetGroups";
    let mut form = Form::new(NAME, VERSION);
    form.add_list("TargetGroupArns", [group.arn()]);
    let answer = call(api, NAME, form).await?;
    let described = answer.members("TargetGroups").next();
    let described = described.ok_or(Fault::Unclear("TargetGroups"))?;
    let attributes = attributes(
        api,
        "DescribeTargetGroupAttributes",
        "TargetGroupArn",
        group.arn(),
    );
    let attributes = attributes.await?;
    let seconds = |key: &str| attributes.get(key).and_then(|value| value.parse().ok());
    let kind = match described.text_of("Protocol") {
        Some("HTTP" | "HTTPS") => BalancerKind::Application,
        _ => BalancerKind::Network,
    };
    let mut balancers = Vec::new();
    for balancer in described.members("LoadBalancerArns").map(Element::text) {
        // They may be looked at, or not; the target group says more.
        let looked = match kind {
            BalancerKind::Application => application(api, balancer).await,
            BalancerKind::Network => network(api, balancer, group.arn()).await,
        };
        balancers.extend(looked.unwrap_or_default());
    }
    Ok(TargetGroup {
        name: group.name().to_owned(),
        kind,
        port: number(described, "Port"),
        delay: Duration::from_secs(
            seconds("deregistration_delay.timeout_seconds").unwrap_or(DEFAULT_DELAY),
        ),
        // That is the default of those that have it.
        resets_unhealthy: attributes
            .get("target_health_state.unhealthy.connection_termination.enabled")
            .is_none_or(|value| value == "true"),
        slow_start: Duration::from_secs(seconds("slow_start.duration_seconds").unwrap_or(0)),
        health: health(described),
        balancers,
    })
}

fn health(described: &Element) -> HealthCheck {
    let is_http = matches!(
        described.text_of("HealthCheckProtocol"),
        Some("HTTP" | "HTTPS")
    );
    let path = described.text_of("HealthCheckPath").filter(|_| is_http);
    HealthCheck {
        path: path.map(str::to_owned),
        // `traffic-port` is that of the sessions.
        port: number(described, "HealthCheckPort"),
        interval: Duration::from_secs(
            number(described, "HealthCheckIntervalSeconds").unwrap_or(30),
        ),
        threshold: number(described, "UnhealthyThresholdCount").unwrap_or(2),
    }
}

fn number<T: std::str::FromStr>(element: &Element, name: &str) -> Option<T> {
    element.text_of(name)?.parse().ok()
}

async fn application(api: &Api, arn: &str) -> Result<Vec<Balancer>, Fault> {
    let call = "DescribeLoadBalancerAttributes";
    let attributes = attributes(api, call, "LoadBalancerArn", arn).await?;
    Ok(idle(&attributes, "idle_timeout.timeout_seconds", arn))
}

/// The listeners of an NLB that send to this target group.
async fn network(api: &Api, arn: &str, group: &str) -> Result<Vec<Balancer>, Fault> {
    const NAME: &str = "DescribeListeners";
    let mut form = Form::new(NAME, VERSION);
    form.add("LoadBalancerArn", arn);
    let answer = call(api, NAME, form).await?;
    let sends = |listener: &&Element| {
        let mut actions = listener.members("DefaultActions");
        actions.any(|action| action.text_of("TargetGroupArn") == Some(group))
    };
    let mut found = Vec::new();
    for listener in answer.members("Listeners").filter(sends) {
        let Some(own) = listener.text_of("ListenerArn") else {
            continue;
        };
        let attributes = attributes(api, "DescribeListenerAttributes", "ListenerArn", own).await?;
        found.extend(idle(&attributes, "tcp.idle_timeout.seconds", arn));
    }
    Ok(found)
}

fn idle(attributes: &BTreeMap<String, String>, key: &str, arn: &str) -> Vec<Balancer> {
    let seconds = attributes.get(key).and_then(|value| value.parse().ok());
    let balancer = seconds.map(|seconds| Balancer {
        // arn:..:loadbalancer/app/NAME/ID
        name: arn.split('/').nth(2).unwrap_or(arn).to_owned(),
        idle: Duration::from_secs(seconds),
    });
    balancer.into_iter().collect()
}

/// The attributes of something, by key.
async fn attributes(
    api: &Api,
    name: &'static str,
    of: &str,
    arn: &str,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut form = Form::new(name, VERSION);
    form.add(of, arn);
    let answer = call(api, name, form).await?;
    let pair = |one: &Element| {
        Some((
            one.text_of("Key")?.to_owned(),
            one.text_of("Value")?.to_owned(),
        ))
    };
    Ok(answer.members("Attributes").filter_map(pair).collect())
}
