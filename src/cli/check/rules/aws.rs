//! Machines of EC2.

use super::{cut, risky, secs, shorter_than_the_window, targets};
use crate::config::{Config, Finding, Readiness};
use crate::lifecycle::settings::{Group, Hook, Machine};

pub(in crate::cli::check) fn findings(machine: &Machine, config: &Config) -> Vec<Finding> {
    let mut found = targets::all(&machine.targets, config);
    found.extend(unwatched(machine, config));
    if let Some(group) = &machine.group {
        found.extend(of_group(group, !machine.targets.is_empty(), config));
    }
    found
}

/// Target groups that the configuration does not name.
fn unwatched(machine: &Machine, config: &Config) -> Vec<Finding> {
    let named = config.platforms.aws.as_ref();
    let named = named.map_or(&[][..], |settings| &settings.target_groups);
    let is_named = |name: &str| named.iter().any(|group| group.name() == name);
    let others = machine
        .targets
        .iter()
        .filter(|target| !is_named(&target.name));
    others
        .map(|target| {
            let what = format!(
                "{} is not among them: that the machine is draining there begins no drain, and its delay is not known",
                target.name
            );
            risky("platform.aws.target_groups", what, "add its ARN")
        })
        .collect()
}

fn of_group(group: &Group, has_targets: bool, config: &Config) -> Vec<Finding> {
    let key = format!("group {}", group.name);
    let mut found = Vec::new();
    if group.hooks.is_empty() {
        let help = "add a hook for autoscaling:EC2_INSTANCE_TERMINATING";
        found.push(if has_targets {
            let what = "no terminate hook: a machine whose drain began late goes when the deregistration delay is over";
            risky(key.clone(), what, help)
        } else {
            let what = "no terminate hook: the machine is shut down without waiting for a drain";
            cut(key.clone(), what, help)
        });
    }
    found.extend(
        group
            .hooks
            .iter()
            .flat_map(|hook| of_hook(hook, group, config)),
    );
    if group.replaces_unhealthy && config.drain.readiness != Readiness::Keep {
        let what = "with health checks of the balancer, a machine that was drained by hand is replaced before `undrain`";
        let help = "set HealthCheckType to EC2, or drain.readiness to \"keep\"";
        found.push(risky(format!("{key}: HealthCheckType"), what, help));
    }
    found
}

fn of_hook(hook: &Hook, group: &Group, config: &Config) -> Vec<Finding> {
    let key = |what: &str| format!("hook {}: {what}", hook.name);
    let mut found = Vec::new();
    let global = shorter_than_the_window(&key("GlobalTimeout"), hook.longest, config);
    let window = config.drain.window;
    if global.is_none() && !window.auto && hook.heartbeat < window.length {
        let what = format!(
            "{} is shorter than drain.window ({}): it is heartbeats alone that keep the machine",
            secs(hook.heartbeat),
            secs(window.length)
        );
        let help = format!(
            "make it {} or more; it ends with the drain all the same",
            secs(window.length)
        );
        found.push(risky(key("HeartbeatTimeout"), what, help));
    }
    found.extend(global);
    if hook.abandons && group.keeps_abandoned {
        let what = "with the group's lifecycle policy, a machine whose hook times out is kept running, and paid for";
        found.push(risky(key("DefaultResult"), what, "set it to CONTINUE"));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::check::rules::tests::{example, keys};
    use crate::config::Window;
    use crate::lifecycle::settings::{Balancer, BalancerKind, HealthCheck, TargetGroup};

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn target(kind: BalancerKind, port: u16, idle: u64) -> TargetGroup {
        let name = if port == 8080 { "chat" } else { "ingest" };
        TargetGroup {
            name: name.into(),
            kind,
            port: Some(port),
            delay: secs(300),
            resets_unhealthy: false,
            slow_start: Duration::ZERO,
            health: HealthCheck {
                path: Some("/readyz".into()),
                port: Some(9180),
                interval: secs(5),
                threshold: 2,
            },
            balancers: vec![Balancer {
                name: "front".into(),
                idle: secs(idle),
            }],
        }
    }

    /// As in `config/examples/aws/stack.yaml`.
    fn shipped() -> Machine {
        Machine {
            group: Some(Group {
                name: "agents".into(),
                hooks: vec![Hook {
                    name: "drain".into(),
                    heartbeat: secs(900),
                    longest: secs(90_000),
                    abandons: false,
                }],
                replaces_unhealthy: false,
                keeps_abandoned: false,
            }),
            targets: vec![
                target(BalancerKind::Application, 8080, 60),
                target(BalancerKind::Network, 8081, 350),
            ],
        }
    }

    /// What is found when one thing is changed in what is shipped.
    fn with(change: impl FnOnce(&mut Machine, &mut Config)) -> Vec<String> {
        let (mut machine, mut config) = (shipped(), example("aws"));
        change(&mut machine, &mut config);
        keys(&findings(&machine, &config))
    }

    fn group(machine: &mut Machine) -> &mut Group {
        machine.group.as_mut().expect("there is one")
    }

    #[test]
    fn nothing_is_found_in_what_is_shipped() {
        assert_eq!(with(|_, _| ()), [""; 0]);
        assert_eq!(with(|_, config| config.drain.window.auto = true), [""; 0]);
    }

    #[test]
    fn each_mistake_in_a_target_group_is_found() {
        let chat = "target group chat: ";
        let delay = format!("{chat}deregistration_delay.timeout_seconds");
        assert_eq!(
            with(|m, _| m.targets[0].delay = secs(120)),
            [format!("E {delay}")]
        );
        assert_eq!(
            with(|m, c| {
                c.drain.window.auto = true;
                m.targets[0].delay = secs(10);
            }),
            [
                format!("W {delay}"),
                "W deregistration_delay.timeout_seconds".to_owned()
            ]
        );
        let resets =
            "target group ingest: target_health_state.unhealthy.connection_termination.enabled";
        assert_eq!(
            with(|m, _| m.targets[1].resets_unhealthy = true),
            [format!("W {resets}")]
        );
        for (readiness, expected) in [
            (Readiness::Fail, vec![format!("E {resets}")]),
            (Readiness::Keep, vec![]),
        ] {
            let found = with(|m, c| {
                m.targets[1].resets_unhealthy = true;
                c.drain.readiness = readiness;
            });
            assert_eq!(found, expected);
        }
        // An ALB has no such attribute.
        assert_eq!(with(|m, _| m.targets[0].resets_unhealthy = true), [""; 0]);
        let slow = with(|m, _| m.targets[0].slow_start = secs(30));
        assert_eq!(slow, [format!("W {chat}slow_start.duration_seconds")]);
        let port = with(|m, _| m.targets[0].port = Some(9000));
        assert_eq!(port, [format!("W {chat}port")]);
        let short = with(|_, c| c.drain.lame_duck_max = crate::config::Stretch::Of(secs(60)));
        assert_eq!(short, ["W drain.lame_duck_max"]);
    }

    #[test]
    fn each_mistake_in_a_health_check_is_found() {
        let (warned, refused) = (
            ["W target group chat: health check"],
            ["E target group chat: health check"],
        );
        let path = |path: Option<&str>, port: Option<u16>| {
            with(|m, _| {
                m.targets[0].health.path = path.map(str::to_owned);
                m.targets[0].health.port = port;
            })
        };
        assert_eq!(path(Some("/livez"), Some(9180)), warned);
        assert_eq!(path(Some("/health"), Some(9180)), refused);
        assert_eq!(path(Some("/"), None), warned);
        assert_eq!(path(None, Some(9180)), warned);
        assert_eq!(path(None, None), [""; 0]);
        let own = with(|m, c| {
            c.listeners[0].http.health_path = Some("/healthz".into());
            m.targets[0].health.path = Some("/healthz".into());
            m.targets[0].health.port = None;
        });
        assert_eq!(own, [""; 0]);
        assert_eq!(with(|m, _| m.targets[0].health.interval = secs(90)), warned);
    }

    #[test]
    fn each_mistake_in_a_balancer_is_found() {
        let alb = ["W ALB front: idle_timeout.timeout_seconds"];
        for idle in [10, 75, 4000] {
            assert_eq!(
                with(|m, _| m.targets[0].balancers[0].idle = secs(idle)),
                alb,
                "{idle}"
            );
        }
        let nlb = with(|m, _| m.targets[1].balancers[0].idle = secs(60));
        assert_eq!(nlb, ["W NLB front: tcp.idle_timeout.seconds"]);
    }

    #[test]
    fn a_target_group_that_is_not_named_is_found() {
        let other = with(|m, _| m.targets[1].name = "other".into());
        assert_eq!(other, ["W platform.aws.target_groups"]);
    }

    #[test]
    fn each_mistake_in_a_group_is_found() {
        assert_eq!(with(|m, _| group(m).hooks.clear()), ["W group agents"]);
        let alone = with(|m, _| {
            group(m).hooks.clear();
            m.targets.clear();
        });
        assert_eq!(alone, ["E group agents"]);
        let beat = with(|m, _| group(m).hooks[0].heartbeat = secs(60));
        assert_eq!(beat, ["W hook drain: HeartbeatTimeout"]);
        let global = with(|m, c| {
            group(m).hooks[0].longest = secs(200);
            c.drain.window = Window::of(secs(300));
        });
        assert_eq!(global, ["E hook drain: GlobalTimeout"]);
        let replaced = with(|m, _| group(m).replaces_unhealthy = true);
        assert_eq!(replaced, ["W group agents: HealthCheckType"]);
        let kept = with(|m, _| {
            group(m).keeps_abandoned = true;
            group(m).hooks[0].abandons = true;
        });
        assert_eq!(kept, ["W hook drain: DefaultResult"]);
    }
}
