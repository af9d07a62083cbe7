//! A scale-in, in its true order: the machine is deregistered first, the group waits out the
//! deregistration delay, and only then the hook speaks and is waited for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::scaling::{Hook, Wait};
use super::{Cloud, GROUP, OWN, Shared};

/// What a scale-in does besides.
#[derive(Clone, Copy)]
pub struct ScaleIn {
    /// When the machine's metadata says where it is going.
    pub metadata: Tells,
    /// Whether the group waits for target groups at all.
    pub deregisters: bool,
}

/// When something is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// With the first step.
    AtOnce,
    /// With the hook.
    AtTheHook,
    /// Not at all.
    Never,
}

/// The message to a hook's queue.
pub fn notice(instance: &str, token: &str) -> Value {
    json!({
        "Service": "AWS Auto Scaling",
        "Time": "2026-01-01T00:00:00.000Z",
        "RequestId": "3cf5e9a1-0000-0000-0000-000000000000",
        "LifecycleActionToken": token,
        "AccountId": "123456789012",
        "AutoScalingGroupName": GROUP,
        "LifecycleHookName": super::HOOK,
        "EC2InstanceId": instance,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "NotificationMetadata": null,
        "Origin": "AutoScalingGroup",
        "Destination": "EC2",
    })
}

impl Cloud {
    /// Takes the machine out of its group; what is returned ends when it is gone, and says why the
    /// last hook let it: `CONTINUE`, `ABANDON`, `timeout`, or that there was no hook.
    pub fn scale_in(&self, id: &'static str, how: ScaleIn) -> JoinHandle<String> {
        let world = self.world().clone();
        tokio::spawn(async move { run(&world, id, how).await })
    }

    /// Ends the deregistration delay of a machine: a balancer does when nothing is open any more.
    pub fn empties(&self, id: &str) {
        self.world().change(|world| {
            for group in world.target_groups.values_mut() {
                group.put(id, "unused");
            }
        });
    }
}

async fn run(world: &Shared, id: &'static str, how: ScaleIn) -> String {
    let metadata = |now: Tells| {
        if id == OWN && how.metadata == now {
            world.change(|world| world.imds.target_lifecycle = Some("Terminated".to_owned()));
        }
    };
    state(world, id, "Terminating");
    metadata(Tells::AtOnce);
    if how.deregisters {
        deregister(world, id).await;
    }
    metadata(Tells::AtTheHook);
    let mut last = "no hook".to_owned();
    for hook in world.look(|world| world.hooks.clone()) {
        last = wait(world, id, hook).await;
    }
    state(world, id, "Terminating:Proceed");
    world.change(|world| world.instances.remove(id));
    world.happened(format!("{id} is gone"));
    last
}

/// Puts a machine in a state.
fn state(world: &Shared, id: &str, state: &str) {
    world.change(|world| {
        let instance = world.instances.get_mut(id).expect("a machine of the group");
        state.clone_into(&mut instance.state);
        world.notes.happened(format!("{id} {state}"));
    });
}

/// Drains the targets of the machine, for the longest of their delays: or until somebody has put
/// them out of use.
pub async fn deregister(world: &Shared, id: &str) {
    let delay = world.change(|world| {
        let mut longest = 0;
        for group in world.target_groups.values_mut() {
            group.put(id, "draining");
            longest = longest.max(group.delay);
        }
        world.notes.happened(format!("{id} draining"));
        Duration::from_secs(longest)
    });
    let early = world.until(|world| {
        let mut states = world.target_groups.values().flat_map(|group| {
            let of = group.targets.iter().filter(|((of, _), _)| of == id);
            of.map(|(_, state)| state.as_str())
        });
        !states.any(|state| state == "draining")
    });
    let _ = tokio::time::timeout(delay, early).await;
    world.change(|world| {
        for group in world.target_groups.values_mut() {
            group.put(id, "unused");
        }
        world.notes.happened(format!("{id} unused"));
    });
}

/// Waits at a hook; says what ended it.
async fn wait(world: &Shared, id: &str, hook: Hook) -> String {
    let now = Instant::now();
    state(world, id, "Terminating:Wait");
    world.change(|world| {
        let token = format!("87654321-4321-4321-4321-{:012}", world.notes.all().len());
        if let Some(queue) = &hook.queue {
            let mut body = notice(id, &token);
            body["LifecycleHookName"] = hook.name.clone().into();
            world.queue_named(queue).expect("the hook's").send(&body);
        }
        let instance = world.instances.get_mut(id).expect("a machine of the group");
        instance.wait = Some(Wait {
            hook,
            token,
            since: now,
            beat: now,
            result: None,
        });
    });
    fn of<'a>(world: &'a super::World, id: &str) -> &'a Wait {
        world.instances[id].wait.as_ref().expect("it waits")
    }
    loop {
        let until = world.look(|world| of(world, id).until());
        let changed = world.until(|world| {
            let wait = of(world, id);
            wait.result.is_some() || wait.until() != until
        });
        let in_time = timeout_at(until.into(), changed).await;
        let ended = world.change(|world| {
            let wait = of(world, id);
            let late = in_time.is_err() && wait.until() <= Instant::now();
            let late = late.then(|| "timeout".to_owned());
            let ended = wait.result.clone().or(late);
            if let Some(how) = &ended {
                let instance = world.instances.get_mut(id).expect("looked at above");
                instance.wait = None;
                world.notes.happened(format!("{id} waited: {how}"));
            }
            ended
        });
        if let Some(how) = ended {
            return how;
        }
    }
}
