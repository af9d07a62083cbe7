//! The calls of EC2 Auto Scaling.

use std::time::Duration;

use super::api::{Api, Body, Call};
use super::environment::Service;
use super::fault::Fault;
use super::form::Form;
use super::state::State;
use super::xml::Element;

pub(super) const VERSION: &str = "2011-01-01";

/// What the group says of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) group: String,
    pub(super) state: State,
    pub(super) is_protected: bool,
}

/// A hook of a group that runs when an instance is terminated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) name: String,
    /// How long it waits for the first heartbeat, or another.
    pub(super) heartbeat: Duration,
    /// How long it waits whatever the heartbeats.
    pub(super) global: Duration,
}

/// A lifecycle action, as the calls name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) group: &'a str,
    pub(super) hook: &'a str,
    pub(super) instance: &'a str,
    pub(super) token: Option<&'a str>,
}

pub(super) async fn call(api: &Api, name: &'static str, form: Form) -> Result<Element, Fault> {
    let call = Call {
        service: Service::AutoScaling,
        name,
        body: Body::Form(form),
        limit: None,
    };
    Element::parse(&api.call(&call).await?).ok_or(Fault::Unclear("XML in it"))
}

/// What its group says of an instance; nothing if it is in none.
pub(super) async fn member(api: &Api, instance: &str) -> Result<Option<Member>, Fault> {
    const NAME: &str = "DescribeAutoScalingInstances";
    let mut form = Form::new(NAME, VERSION);
    form.add_list("InstanceIds", [instance]);
    member_of(&call(api, NAME, form).await?, instance)
}

fn member_of(answer: &Element, instance: &str) -> Result<Option<Member>, Fault> {
    let mut members = answer.members("AutoScalingInstances");
    let Some(found) = members.find(|one| one.text_of("InstanceId") == Some(instance)) else {
        // An answer without the list is none.
        let list = answer.find("AutoScalingInstances");
        return list
            .map(|_| None)
            .ok_or(Fault::Unclear("AutoScalingInstances"));
    };
    let group = found.text_of("AutoScalingGroupName");
    let state = found.text_of("LifecycleState");
    Ok(Some(Member {
        group: group
            .ok_or(Fault::Unclear("AutoScalingGroupName"))?
            .to_owned(),
        state: State::of(state.ok_or(Fault::Unclear("LifecycleState"))?),
        is_protected: found.text_of("ProtectedFromScaleIn") == Some("true"),
    }))
}

/// The hooks of a group that run when an instance is terminated.
pub(super) async fn hooks(api: &Api, group: &str) -> Result<Vec<Hook>, Fault> {
    const NAME: &str = "DescribeLifecycleHooks";
    let mut form = Form::new(NAME, VERSION);
    form.add("AutoScalingGroupName", group);
    hooks_of(&call(api, NAME, form).await?)
}

pub(super) fn hooks_of(answer: &Element) -> Result<Vec<Hook>, Fault> {
    answer
        .find("LifecycleHooks")
        .ok_or(Fault::Unclear("LifecycleHooks"))?;
    let terminating = |hook: &&Element| {
        hook.text_of("LifecycleTransition") == Some("autoscaling:EC2_INSTANCE_TERMINATING")
    };
    let hook = |hook: &Element| {
        let name = hook.text_of("LifecycleHookName");
        let seconds = |name| hook.text_of(name).and_then(|text| text.parse().ok());
        // What a hook has if nobody said otherwise (API PutLifecycleHook).
        let heartbeat = seconds("HeartbeatTimeout").unwrap_or(3600_u64);
        let global = seconds("GlobalTimeout").unwrap_or((heartbeat * 100).min(172_800));
        Ok(Hook {
            name: name.ok_or(Fault::Unclear("LifecycleHookName"))?.to_owned(),
            heartbeat: Duration::from_secs(heartbeat),
            global: Duration::from_secs(global),
        })
    };
    answer
        .members("LifecycleHooks")
        .filter(terminating)
        .map(hook)
        .collect()
}

fn naming(name: &str, action: Named<'_>) -> Form {
    let mut form = Form::new(name, VERSION);
    form.add("AutoScalingGroupName", action.group);
    form.add("LifecycleHookName", action.hook);
    form.add("InstanceId", action.instance);
    if let Some(token) = action.token {
        form.add("LifecycleActionToken", token);
    }
    form
}

/// Asks the group to wait for another full timeout of the hook.
pub(super) async fn heartbeat(api: &Api, action: Named<'_>) -> Result<(), Fault> {
    const NAME: &str = "RecordLifecycleActionHeartbeat";
    call(api, NAME, naming(NAME, action)).await.map(|_| ())
}

/// Tells the group that it need not wait any more. Never ABANDON: with a policy that retains
/// abandoned instances that would keep the machine running.
pub(super) async fn complete(api: &Api, action: Named<'_>) -> Result<(), Fault> {
    const NAME: &str = "CompleteLifecycleAction";
    let mut form = naming(NAME, action);
    form.add("LifecycleActionResult", "CONTINUE");
    call(api, NAME, form).await.map(|_| ())
}

/// Asks the group to spare an instance in a scale-in, or not to any more.
pub(super) async fn protect(api: &Api, group: &str, instance: &str, on: bool) -> Result<(), Fault> {
    const NAME: &str = "SetInstanceProtection";
    let mut form = Form::new(NAME, VERSION);
    form.add("AutoScalingGroupName", group);
    form.add_list("InstanceIds", [instance]);
    form.add("ProtectedFromScaleIn", if on { "true" } else { "false" });
    call(api, NAME, form).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(inner: &str) -> Element {
        let document = format!(
            "<A xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><R>{inner}</R></A>"
        );
        Element::parse(document.as_bytes()).unwrap()
    }

    #[test]
    fn an_instance_is_in_a_group_or_in_none() {
        let one = answer(
            "<AutoScalingInstances><member><InstanceId>i-1</InstanceId>\
             <AutoScalingGroupName>bots</AutoScalingGroupName><HealthStatus>HEALTHY</HealthStatus>\
             <LifecycleState>Terminating:Wait</LifecycleState>\
             <ProtectedFromScaleIn>true</ProtectedFromScaleIn></member></AutoScalingInstances>",
        );
        let member = member_of(&one, "i-1").unwrap().unwrap();
        assert_eq!((&*member.group, member.is_protected), ("bots", true));
        assert!(member.state.waits_for_hooks());
        assert!(member_of(&one, "i-2").unwrap().is_none());
        assert!(
            member_of(&answer("<AutoScalingInstances/>"), "i-1")
                .unwrap()
                .is_none()
        );
        assert!(member_of(&answer(""), "i-1").is_err());
        let odd = "<AutoScalingInstances><member><InstanceId>i-1</InstanceId></member></AutoScalingInstances>";
        assert!(member_of(&answer(odd), "i-1").is_err());
    }

    #[test]
    fn only_hooks_that_run_at_the_end_count() {
        let found = hooks_of(&answer(
            "<LifecycleHooks><member><LifecycleHookName>up</LifecycleHookName>\
             <LifecycleTransition>autoscaling:EC2_INSTANCE_LAUNCHING</LifecycleTransition></member>\
             <member><LifecycleHookName>down</LifecycleHookName>\
             <LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition>\
             <HeartbeatTimeout>30</HeartbeatTimeout><GlobalTimeout>3000</GlobalTimeout></member>\
             </LifecycleHooks>",
        ));
        let (heartbeat, global) = (Duration::from_secs(30), Duration::from_secs(3000));
        let name = "down".to_owned();
        assert_eq!(
            found.unwrap(),
            [Hook {
                name,
                heartbeat,
                global
            }]
        );
        assert_eq!(hooks_of(&answer("<LifecycleHooks/>")).unwrap(), []);
        assert!(hooks_of(&answer("")).is_err());
    }
}
