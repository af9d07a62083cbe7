//! Target groups, the balancers before them, and the Auto Scaling group behind them.

use std::time::Duration;

/// A machine of EC2, or what is known of where it belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its Auto Scaling group.
    pub group: Option<Group>,
    /// The target groups that it is in.
    pub targets: Vec<TargetGroup>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its hooks at termination.
    pub hooks: Vec<Hook>,
    /// Whether it replaces a machine that fails a balancer's health check.
    pub replaces_unhealthy: bool,
    /// Whether a machine whose hook was abandoned is kept running.
    pub keeps_abandoned: bool,
}

/// A lifecycle hook at termination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// How long it waits for a word.
    pub heartbeat: Duration,
    /// How long it waits however many words it gets.
    pub longest: Duration,
    /// Whether it counts as abandoned when nobody says a word.
    pub abandons: bool,
}

/// A target group of an ALB or an NLB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Its name.
    pub name: String,
    /// Which kind of balancer it is for.
    pub kind: BalancerKind,
    /// The port of its targets.
    pub port: Option<u16>,
    /// `deregistration_delay.timeout_seconds`.
    pub delay: Duration,
    /// `target_health_state.unhealthy.connection_termination.enabled`.
    pub resets_unhealthy: bool,
    /// `slow_start.duration_seconds`.
    pub slow_start: Duration,
    /// How it finds out which targets work.
    pub health: HealthCheck,
    /// The balancers that send to it, as far as they may be looked at.
    pub balancers: Vec<Balancer>,
}

/// Which kind of balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancerKind {
    /// HTTP.
    Application,
    /// TCP.
    Network,
}

/// A target group's health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path; none if it is a mere connection.
    pub path: Option<String>,
    /// The port; none if it is that of the sessions.
    pub port: Option<u16>,
    /// Between two checks.
    pub interval: Duration,
    /// After so many failures in a row the target is unhealthy.
    pub threshold: u32,
}

/// A balancer, and when it ends what is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Its name, or its listener's.
    pub name: String,
    /// So long a connection may be silent.
    pub idle: Duration,
}
