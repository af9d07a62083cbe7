//! A cloud of our own: Auto Scaling, target groups, queues and the metadata of one machine, on one
//! clock, at one address. Everything that happens is noted, and can be waited for.

pub mod azure;
pub mod balancing;
pub mod ecs;
pub mod fault;
mod form;
pub mod gcp;
mod http;
pub mod imds;
pub mod note;
pub mod queue;
pub mod scale_in;
pub mod scaling;
mod signature;
mod xml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::harness::agent::Agent;
use crate::harness::proxy::Builder;
use crate::harness::within;

use balancing::TargetGroup;
use fault::Fault;
use note::{Note, Notes};
use queue::Queue;
use scaling::{Hook, Instance};

/// The region of everything.
pub const REGION: &str = "eu-central-1";
/// The machine that the proxy runs on.
pub const OWN: &str = "i-0123456789abcdef0";
/// Another machine of the same group.
pub const OTHER: &str = "i-0fedcba9876543210";
/// The group of both.
pub const GROUP: &str = "agents";
/// The group's hook, where it has one.
pub const HOOK: &str = "drained-first";

/// All that there is in the cloud.
#[derive(Default)]
pub struct World {
    notes: Notes,
    /// What the cloud found wrong with what it was sent.
    complaints: Vec<String>,
    faults: Vec<(String, Fault, usize)>,
    pub hooks: Vec<Hook>,
    pub instances: BTreeMap<String, Instance>,
    pub target_groups: BTreeMap<String, TargetGroup>,
    pub queues: BTreeMap<String, Queue>,
    pub imds: imds::Imds,
    pub ecs: ecs::Ecs,
    pub azure: azure::Azure,
    pub gcp: gcp::Gcp,
}

/// The world, and whoever waits for it to change. Clones share it.
#[derive(Clone)]
pub struct Shared(Arc<watch::Sender<World>>);

impl Shared {
    /// Changes the world.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut made = None;
        self.0.send_modify(|world| made = Some(change(world)));
        made.expect("the closure is called")
    }

    /// Looks at the world.
    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Waits until the world is so. Unbounded.
    pub async fn until(&self, mut is: impl FnMut(&World) -> bool) {
        let _ = self.0.subscribe().wait_for(|world| is(world)).await;
    }

    /// Notes something that the cloud did.
    pub fn happened(&self, what: impl Into<String>) {
        self.change(|world| world.notes.happened(what.into()));
    }
}

/// A running cloud. Dropped, it fails the test if it was sent anything that a real one refuses.
pub struct Cloud {
    /// Where it answers, everything at once.
    pub addr: SocketAddr,
    world: Shared,
    _listening: Agent,
}

impl Cloud {
    /// Starts one with two machines in a group that has no hook, and nothing else.
    pub fn start() -> Cloud {
        Cloud::with(http::listen)
    }

    fn with(listen: impl FnOnce(Shared) -> Agent) -> Cloud {
        let mut world = World::default();
        for id in [OWN, OTHER] {
            world.instances.insert(id.to_owned(), Instance::new());
        }
        let world = Shared(Arc::new(watch::Sender::new(world)));
        let listening = listen(world.clone());
        Cloud {
            addr: listening.addr,
            world,
            _listening: listening,
        }
    }

    /// The world, to be looked at, changed and waited for.
    pub fn world(&self) -> &Shared {
        &self.world
    }

    /// A proxy on the cloud's own machine, with credentials of the machine's role.
    pub fn machine(&self, proxy: Builder) -> Builder {
        let url = format!("http://{}", self.addr);
        proxy
            .environment("AWS_REGION", REGION)
            .environment("AWS_ENDPOINT_URL", &url)
            .environment("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)
            .environment("GCE_METADATA_HOST", &self.addr.to_string())
    }

    /// Has calls go wrong, so many times: those of a service (`imds`), or one alone
    /// (`autoscaling.CompleteLifecycleAction`).
    pub fn misbehave(&self, calls: &str, fault: Fault, times: usize) {
        self.world
            .change(|world| world.faults.push((calls.to_owned(), fault, times)));
    }

    /// Ends all misbehaviour.
    pub fn behave(&self) {
        self.world.change(|world| world.faults.clear());
    }

    /// Everything so far, oldest first.
    pub fn notes(&self) -> Vec<Note> {
        self.world.look(|world| world.notes.all().to_vec())
    }

    /// The calls of this name so far, or of this service.
    pub fn calls(&self, name: &str) -> Vec<Note> {
        let mut notes = self.notes();
        notes.retain(|note| note.is(name));
        notes
    }

    /// Those of them that went well.
    pub fn good_calls(&self, name: &str) -> Vec<Note> {
        let mut calls = self.calls(name);
        calls.retain(|call| call.status == Some(200));
        calls
    }

    /// Waits until there have been so many calls, or happenings, of this name, answered or not.
    pub async fn has_seen(&self, count: usize, name: &str) -> Note {
        let seen = self.world.until(|world| {
            let notes = world.notes.all().iter();
            notes.filter(|note| note.is(name)).count() >= count
        });
        within(60, name, seen).await;
        self.calls(name).swap_remove(count - 1)
    }

    /// When this happened, or was called, first.
    pub fn when(&self, name: &str) -> Instant {
        let first = self.calls(name).into_iter().next();
        first
            .unwrap_or_else(|| panic!("no {name} in {:#?}", self.notes()))
            .at
    }

    /// Checks that the first of each came in this order.
    pub fn assert_order(&self, names: &[&str]) {
        let notes = self.notes();
        let first = |name: &&str| notes.iter().position(|note| note.is(name));
        let places: Vec<_> = names.iter().map(first).collect();
        let in_order = places.iter().all(Option::is_some) && places.is_sorted();
        assert!(in_order, "{names:?} are at {places:?} of {notes:#?}");
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the cloud saw:");
            for note in self.notes() {
                eprintln!("  {note}");
            }
        }
        let complaints = self.world.look(|world| world.complaints.clone());
        if !std::thread::panicking() && !complaints.is_empty() {
            panic!("a real cloud would refuse: {complaints:#?}");
        }
    }
}
