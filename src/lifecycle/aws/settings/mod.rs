//! How the group and its balancers are set, for who compares that with a configuration.

mod balancers;
#[cfg(feature = "ecs")]
mod task;

use crate::config::{self, TargetGroup, Window};
use crate::lifecycle::desk::Desks;
use crate::lifecycle::settings::{Group, Hook, Machine};

use super::api::Api;
use super::autoscaling::{self, VERSION};
use super::fault::Fault;
use super::form::Form;
use super::xml::Element;
use super::{Environment, desk};

#[cfg(feature = "ecs")]
pub(in crate::lifecycle) use task::ask as ask_of_task;

/// Calls as the proxy would make them; nobody hears of how they went but who asked.
fn api() -> Api {
    let environment = Environment::of_process();
    // No drain comes of this, so no window is needed.
    let desks = Desks::of_nobody(Window::of(std::time::Duration::ZERO));
    let desk = desk(&environment, &desks);
    Api::new(&desk, environment)
}

/// Asks the API. The instance is asked for its group where that is not configured.
///
/// # Errors
/// What kept the settings from being read.
pub(in crate::lifecycle) async fn ask(settings: &config::Aws) -> Result<Machine, String> {
    let api = api();
    let name = match &settings.group {
        Some(name) => Some(name.clone()),
        None => of_instance(&api).await?,
    };
    let mut targets = settings.target_groups.clone();
    let mut group = None;
    if let Some(name) = name {
        let (found, its_own) = of_group(&api, name)
            .await
            .map_err(|fault| fault.to_string())?;
        let is_new = |arn: &TargetGroup| !targets.iter().any(|known| known.arn() == arn.arn());
        let others: Vec<_> = its_own.into_iter().filter(is_new).collect();
        targets.extend(others);
        group = Some(found);
    }
    if group.is_none() && targets.is_empty() {
        let help = "name them with platform.aws.group and target_groups";
        return Err(format!(
            "the instance is in no group and no target group is known; {help}"
        ));
    }
    let targets = balancers::targets(&api, &targets)
        .await
        .map_err(|fault| fault.to_string())?;
    Ok(Machine { group, targets })
}

/// The group of the instance that this is; none if it is in none.
async fn of_instance(api: &Api) -> Result<Option<String>, String> {
    let id = api.imds.get("instance-id").await;
    let id = id.map_err(|silent| {
        format!("which instance is this: {silent}; or name platform.aws.group")
    })?;
    let Some(id) = id else {
        return Ok(None);
    };
    let member = autoscaling::member(api, &id)
        .await
        .map_err(|fault| fault.to_string())?;
    Ok(member.map(|member| member.group))
}

/// A group, and the target groups that it puts its instances into.
async fn of_group(api: &Api, name: String) -> Result<(Group, Vec<TargetGroup>), Fault> {
    const GROUPS: &str = "DescribeAutoScalingGroups";
    let mut form = Form::new(GROUPS, VERSION);
    form.add_list("AutoScalingGroupNames", [name.as_str()]);
    let answer = autoscaling::call(api, GROUPS, form).await?;
    let found = answer.members("AutoScalingGroups").next();
    let found = found.ok_or(Fault::Unclear("a group of this name"))?;

    const HOOKS: &str = "DescribeLifecycleHooks";
    let mut form = Form::new(HOOKS, VERSION);
    form.add("AutoScalingGroupName", &name);
    let hooks = autoscaling::call(api, HOOKS, form).await?;
    let policy = found.find("TerminateHookAbandon").map(Element::text);
    let group = Group {
        hooks: autoscaling::hooks_of(&hooks)?
            .into_iter()
            .map(|hook| Hook {
                abandons: abandons(&hooks, &hook.name),
                name: hook.name,
                heartbeat: hook.heartbeat,
                longest: hook.global,
            })
            .collect(),
        replaces_unhealthy: found
            .text_of("HealthCheckType")
            .is_some_and(|kinds| kinds.split(',').any(|kind| kind == "ELB")),
        keeps_abandoned: policy == Some("retain"),
        name,
    };
    let arns = found.members("TargetGroupARNs").map(Element::text);
    Ok((group, arns.filter_map(TargetGroup::of_arn).collect()))
}

fn abandons(hooks: &Element, name: &str) -> bool {
    let mut hooks = hooks.members("LifecycleHooks");
    let hook = hooks.find(|hook| hook.text_of("LifecycleHookName") == Some(name));
    // That is what a hook does if nobody said otherwise.
    hook.and_then(|hook| hook.text_of("DefaultResult")) != Some("CONTINUE")
}
