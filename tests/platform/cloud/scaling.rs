//! Auto Scaling, version 2011-01-01.

use std::time::{Duration, Instant};

use super::form::members;
use super::http::{Answer, Ask, unknown};
use super::{GROUP, World, xml};

const SPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// A machine of the group.
pub struct Instance {
    /// Its lifecycle state.
    pub state: String,
    /// Whether a scale-in spares it.
    pub protected: bool,
    /// What it waits for before it goes.
    pub wait: Option<Wait>,
}

impl Instance {
    pub(super) fn new() -> Instance {
        Instance {
            state: "InService".to_owned(),
            protected: false,
            wait: None,
        }
    }
}

/// A terminate hook.
#[derive(Clone)]
pub struct Hook {
    pub name: String,
    /// A real one is 30 seconds or longer.
    pub heartbeat: Duration,
    /// The longest that all heartbeats together keep it waiting.
    pub global: Duration,
    /// The path of the queue that is told.
    pub queue: Option<String>,
}

impl Hook {
    /// A hook of this heartbeat timeout, that tells nobody.
    pub fn new(name: &str, heartbeat: Duration) -> Hook {
        Hook {
            name: name.to_owned(),
            heartbeat,
            global: (heartbeat * 100).min(Duration::from_secs(172_800)),
            queue: None,
        }
    }
}

/// A machine that waits at a hook.
pub struct Wait {
    pub hook: Hook,
    pub token: String,
    /// When it began.
    pub since: Instant,
    /// When the last heartbeat was heard.
    pub beat: Instant,
    /// What was said at its completion.
    pub result: Option<String>,
}

impl Wait {
    /// When it ends by itself.
    pub fn until(&self) -> Instant {
        (self.beat + self.hook.heartbeat).min(self.since + self.hook.global)
    }
}

/// Answers a call.
pub fn answer(world: &mut World, ask: &Ask) -> Answer {
    let named = ask.fields.get("AutoScalingGroupName");
    if let Some(named) = named.filter(|named| *named != GROUP) {
        return invalid(&format!("AutoScalingGroup {named} not found"));
    }
    match ask.action.as_str() {
        "DescribeAutoScalingInstances" => instances(world, ask),
        "DescribeLifecycleHooks" => hooks(world, ask),
        "RecordLifecycleActionHeartbeat" => act(world, ask, |wait| wait.beat = Instant::now()),
        "CompleteLifecycleAction" => {
            let result = ask.field("LifecycleActionResult").to_owned();
            if !["CONTINUE", "ABANDON"].contains(&result.as_str()) {
                let what = format!("autoscaling: a result of {result:?}");
                world.complaints.push(what);
            }
            act(world, ask, |wait| wait.result = Some(result))
        }
        "SetInstanceProtection" => protect(world, ask),
        _ => unknown(world, ask),
    }
}

fn invalid(message: &str) -> Answer {
    xml::error(400, "ValidationError", message)
}

fn instances(world: &World, ask: &Ask) -> Answer {
    let asked = members(&ask.fields, "InstanceIds");
    let wanted = |id: &str| asked.is_empty() || asked.values().any(|asked| *asked == id);
    let all = world.instances.iter().filter(|(id, _)| wanted(id));
    let member = |(id, instance): (&String, &Instance)| {
        xml::elements(&[
            ("InstanceId", id),
            ("AutoScalingGroupName", GROUP),
            ("AvailabilityZone", "eu-central-1a"),
            ("LifecycleState", &instance.state),
            ("HealthStatus", "HEALTHY"),
            ("ProtectedFromScaleIn", &instance.protected.to_string()),
        ])
    };
    let list = xml::list("AutoScalingInstances", all.map(member));
    xml::response(SPACE, &ask.action, &list)
}

fn hooks(world: &World, ask: &Ask) -> Answer {
    let asked = members(&ask.fields, "LifecycleHookNames");
    let wanted = |name: &str| asked.is_empty() || asked.values().any(|asked| *asked == name);
    let member = |hook: &Hook| {
        let whole = |time: Duration| time.as_secs().to_string();
        xml::elements(&[
            ("LifecycleHookName", &hook.name),
            ("AutoScalingGroupName", GROUP),
            (
                "LifecycleTransition",
                "autoscaling:EC2_INSTANCE_TERMINATING",
            ),
            ("HeartbeatTimeout", &whole(hook.heartbeat)),
            ("GlobalTimeout", &whole(hook.global)),
            ("DefaultResult", "ABANDON"),
        ])
    };
    let all = world.hooks.iter().filter(|hook| wanted(&hook.name));
    let list = xml::list("LifecycleHooks", all.map(member));
    xml::response(SPACE, &ask.action, &list)
}

/// Does something to the wait that is meant, if it still lasts.
fn act(world: &mut World, ask: &Ask, act: impl FnOnce(&mut Wait)) -> Answer {
    let (id, token) = (ask.field("InstanceId"), ask.field("LifecycleActionToken"));
    if id.is_empty() && token.is_empty() {
        let what = format!("autoscaling.{}: neither instance nor token", ask.action);
        world.complaints.push(what);
    }
    let mut waits = world
        .instances
        .iter_mut()
        .filter_map(|(id, instance)| Some((id, instance.wait.as_mut()?)));
    let meant = waits.find(|(of, wait)| *of == id || wait.token == token);
    let Some((_, wait)) = meant else {
        return invalid(&format!(
            "No active Lifecycle Action found with instance ID {id}"
        ));
    };
    if wait.hook.name != ask.field("LifecycleHookName") {
        return invalid("Lifecycle hook not found");
    }
    if wait.result.is_some() || wait.until() <= Instant::now() {
        return invalid(&format!(
            "No active Lifecycle Action found with instance ID {id}"
        ));
    }
    act(wait);
    xml::response(SPACE, &ask.action, "")
}

fn protect(world: &mut World, ask: &Ask) -> Answer {
    let ids = members(&ask.fields, "InstanceIds");
    let Ok(protected) = ask.field("ProtectedFromScaleIn").parse() else {
        return invalid("ProtectedFromScaleIn must be true or false");
    };
    for id in ids.values() {
        match world.instances.get_mut(*id) {
            Some(instance) if instance.state == "InService" => instance.protected = protected,
            _ => return invalid(&format!("The instance {id} is not in InService")),
        }
    }
    xml::response(SPACE, &ask.action, "")
}
