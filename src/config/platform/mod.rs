//! `[platform.NAME]`: who starts drains, and is told when they are over.
//!
//! A platform is on when its table is in the file, however empty, or when a flag names it. Each has
//! a file of its own here, with its keys, their defaults and what comes of them.

mod aws;
mod azure;
mod ecs;
mod gcp;
mod kubernetes;
mod other;

use std::fmt;
use std::str::FromStr;

pub use aws::Aws;
pub use azure::Azure;
pub use ecs::Ecs;
pub use gcp::Gcp;
pub use kubernetes::Kubernetes;
pub use other::Other;

use super::section::{Origin, Reader, Section};
use super::value::{Wrong, nearest};

/// The platforms that are on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Platforms {
    /// EC2 Auto Scaling, and target groups.
    pub aws: Option<Aws>,
    /// Tasks of ECS.
    pub ecs: Option<Ecs>,
    /// Pods.
    pub kubernetes: Option<Kubernetes>,
    /// Scheduled events of virtual machines.
    pub azure: Option<Azure>,
    /// Notices of virtual machines.
    pub gcp: Option<Gcp>,
    /// A file and a command, for what has no table of its own.
    pub other: Option<Other>,
}

/// The name of a platform: that of its table, and the value of the metrics' label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlatformName {
    /// EC2 Auto Scaling, and target groups.
    Aws,
    /// Tasks of ECS.
    Ecs,
    /// Pods.
    Kubernetes,
    /// Scheduled events of virtual machines.
    Azure,
    /// Notices of virtual machines.
    Gcp,
    /// A file and a command.
    Other,
}

impl PlatformName {
    /// All of them.
    pub const ALL: &'static [PlatformName] = &[
        PlatformName::Aws,
        PlatformName::Ecs,
        PlatformName::Kubernetes,
        PlatformName::Azure,
        PlatformName::Gcp,
        PlatformName::Other,
    ];

    /// The name as it is written.
    pub fn label(self) -> &'static str {
        match self {
            PlatformName::Aws => "aws",
            PlatformName::Ecs => "ecs",
            PlatformName::Kubernetes => "kubernetes",
            PlatformName::Azure => "azure",
            PlatformName::Gcp => "gcp",
            PlatformName::Other => "other",
        }
    }

    /// Whether this build of the program can speak to it.
    pub fn is_built_in(self) -> bool {
        match self {
            PlatformName::Aws => cfg!(feature = "aws"),
            PlatformName::Ecs => cfg!(feature = "ecs"),
            PlatformName::Kubernetes => cfg!(feature = "kubernetes"),
            PlatformName::Azure => cfg!(feature = "azure"),
            PlatformName::Gcp => cfg!(feature = "gcp"),
            PlatformName::Other => true,
        }
    }
}

impl fmt::Display for PlatformName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for PlatformName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<PlatformName, Wrong> {
        let mut all = PlatformName::ALL.iter();
        let found = all.find(|name| name.label() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = PlatformName::ALL.iter().map(|name| name.label()).collect();
            let help = match nearest(text, names.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\""),
                None => format!("write one of {}", names.join(", ")),
            };
            Wrong::new(format!("`{text}` is no platform"), help)
        })
    }
}

/// A platform's table, with where it begins.
pub(super) struct RawPlatform<T> {
    pub(super) origin: Origin,
    pub(super) values: T,
}

/// The tables below `[platform]`.
pub(super) struct RawPlatforms {
    aws: RawPlatform<aws::RawAws>,
    ecs: RawPlatform<ecs::RawEcs>,
    kubernetes: RawPlatform<kubernetes::RawKubernetes>,
    azure: RawPlatform<azure::RawAzure>,
    gcp: RawPlatform<gcp::RawGcp>,
    other: RawPlatform<other::RawOther>,
}

fn table<'a, T>(
    root: &mut Section<'a>,
    name: PlatformName,
    read: fn(&mut Section<'a>) -> T,
) -> RawPlatform<T> {
    let mut table = root.table(name.label());
    RawPlatform {
        origin: table.origin(),
        values: read(&mut table),
    }
}

impl RawPlatforms {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        Self {
            aws: table(root, PlatformName::Aws, aws::RawAws::read),
            ecs: table(root, PlatformName::Ecs, ecs::RawEcs::read),
            kubernetes: table(
                root,
                PlatformName::Kubernetes,
                kubernetes::RawKubernetes::read,
            ),
            azure: table(root, PlatformName::Azure, azure::RawAzure::read),
            gcp: table(root, PlatformName::Gcp, gcp::RawGcp::read),
            other: table(root, PlatformName::Other, other::RawOther::read),
        }
    }

    /// Each platform, with where it is switched on; [`Origin::Default`] where it is not.
    pub(super) fn origins(&self) -> [(PlatformName, &Origin); 6] {
        [
            (PlatformName::Aws, &self.aws.origin),
            (PlatformName::Ecs, &self.ecs.origin),
            (PlatformName::Kubernetes, &self.kubernetes.origin),
            (PlatformName::Azure, &self.azure.origin),
            (PlatformName::Gcp, &self.gcp.origin),
            (PlatformName::Other, &self.other.origin),
        ]
    }

    /// Reports what does not fit together in the tables.
    pub(super) fn check(&self, reader: &Reader<'_>) {
        self.aws.values.check(reader);
    }

    /// Switches a platform on that the file does not name.
    pub(super) fn switch_on(&mut self, name: PlatformName) {
        let origin = match name {
            PlatformName::Aws => &mut self.aws.origin,
            PlatformName::Ecs => &mut self.ecs.origin,
            PlatformName::Kubernetes => &mut self.kubernetes.origin,
            PlatformName::Azure => &mut self.azure.origin,
            PlatformName::Gcp => &mut self.gcp.origin,
            PlatformName::Other => &mut self.other.origin,
        };
        if *origin == Origin::Default {
            *origin = Origin::Flag("--platform");
        }
    }

    pub(super) fn into_platforms(self) -> Platforms {
        fn on<T, U>(raw: RawPlatform<T>, into: fn(T) -> U) -> Option<U> {
            (raw.origin != Origin::Default).then(|| into(raw.values))
        }
        Platforms {
            aws: on(self.aws, aws::RawAws::into_aws),
            ecs: on(self.ecs, ecs::RawEcs::into_ecs),
            kubernetes: on(self.kubernetes, kubernetes::RawKubernetes::into_kubernetes),
            azure: on(self.azure, azure::RawAzure::into_azure),
            gcp: on(self.gcp, gcp::RawGcp::into_gcp),
            other: on(self.other, other::RawOther::into_other),
        }
    }
}
