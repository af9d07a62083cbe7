//! `[platform.aws]`.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::section::{Found, Reader, Section};
use crate::config::types::{OnRebalance, ProtectWhen, TargetGroup};
use crate::config::value::{self, show_duration};

/// The account's calls are throttled together.
const OFTEN: Duration = Duration::from_secs(10);

/// EC2 Auto Scaling, and target groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Aws {
    /// Between two looks at the instance's metadata.
    pub poll: Duration,
    /// Between two looks at what the API says of the instance and its targets.
    pub describe_poll: Duration,
    /// What is done when a Spot instance is recommended to be replaced.
    pub on_rebalance: OnRebalance,
    /// The target groups that the instance is in.
    pub target_groups: Vec<TargetGroup>,
    /// The address by which they know it, if not by its id.
    pub target_ip: Option<IpAddr>,
    /// The port by which they know it, if not by their own.
    pub target_port: Option<u16>,
    /// Whether the instance leaves its target groups by itself when a drain begins.
    pub deregister: bool,
    /// The queue that tells of lifecycle actions.
    pub queue_url: Option<String>,
    /// The group that the instance is in, if it need not be asked for.
    pub group: Option<String>,
    /// The lifecycle hooks to be completed; none named means those of the group.
    pub lifecycle_hook: Vec<String>,
    /// When the group is asked not to pick this instance.
    pub protect_when: ProtectWhen,
}

/// `[platform.aws]`.
pub(super) struct RawAws {
    poll: Found<Duration>,
    describe_poll: Found<Duration>,
    on_rebalance: Found<OnRebalance>,
    target_groups: Found<Vec<TargetGroup>>,
    target_ip: Found<Option<IpAddr>>,
    target_port: Found<Option<u16>>,
    deregister: Found<bool>,
    queue_url: Found<Option<String>>,
    group: Found<Option<String>>,
    lifecycle_hook: Found<Vec<String>>,
    protect_when: Found<ProtectWhen>,
}

impl RawAws {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::poll, Duration::from_secs(5)),
            describe_poll: table.read(
                "describe_poll",
                value::describe_poll,
                Duration::from_secs(15),
            ),
            on_rebalance: table.read("on_rebalance", value::on_rebalance, OnRebalance::Ignore),
            target_groups: table.read("target_groups", value::target_groups, Vec::new()),
            target_ip: table.read("target_ip", value::target_ip, None),
            target_port: table.read("target_port", value::target_port, None),
            deregister: table.read("deregister", value::switch, false),
            queue_url: table.read("queue_url", value::queue_url, None),
            group: table.read("group", value::group_name, None),
            lifecycle_hook: table.read("lifecycle_hook", value::hook_names, Vec::new()),
            protect_when: table.read("protect_when", value::protect_when, ProtectWhen::Off),
        }
    }

    /// Reports what does not fit together.
    pub(super) fn check(&self, reader: &Reader<'_>) {
        let often = &self.describe_poll;
        if often.value < OFTEN && often.is_given() && often.is_sound() {
            let what = format!(
                "{} is often: these calls are throttled for the whole account",
                show_duration(often.value)
            );
            let help = "write \"10s\" or more".to_owned();
            reader.warning(&often.origin, "platform.aws.describe_poll", what, help);
        }
        let nowhere = self.target_groups.value.is_empty() && self.target_groups.is_sound();
        if self.deregister.value && nowhere {
            let what = "there is no target group to leave".to_owned();
            let help = "name them in target_groups, or leave this out".to_owned();
            reader.error(
                &self.deregister.origin,
                "platform.aws.deregister",
                what,
                help,
            );
        }
    }

    pub(super) fn into_aws(self) -> Aws {
        Aws {
            poll: self.poll.value,
            describe_poll: self.describe_poll.value,
            on_rebalance: self.on_rebalance.value,
            target_groups: self.target_groups.value,
            target_ip: self.target_ip.value,
            target_port: self.target_port.value,
            deregister: self.deregister.value,
            queue_url: self.queue_url.value,
            group: self.group.value,
            lifecycle_hook: self.lifecycle_hook.value,
            protect_when: self.protect_when.value,
        }
    }
}
