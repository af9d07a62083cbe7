//! The relays that are compared, each a process of its own on its own core.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod process;

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use process::Subject;

use crate::workload::{Speaks, Traffic, Workload};

/// One of the relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Relay {
    /// The bare epoll loop of [`crate::floor`].
    Floor,
    /// The release binary of this crate.
    Lameduck,
    Haproxy,
    Nginx,
    Envoy,
    Caddy,
}

/// What a peer's configuration is made from.
pub(crate) struct Setup<'s> {
    speaks: Speaks,
    traffic: Traffic,
    listen: SocketAddr,
    agent: SocketAddr,
    /// The file of the certificate and its key, where clients speak TLS.
    certificate: Option<&'s Path>,
    /// For its files.
    dir: &'s Path,
}

impl Relay {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 6] = [
        Self::Floor,
        Self::Lameduck,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
        Self::Caddy,
    ];

    /// Whether it is a peer in the field, rather than a yardstick of our own or the program itself.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Floor | Self::Lameduck)
    }

    /// Whether it can do this.
    pub(crate) fn suits(self, workload: &Workload) -> bool {
        match self {
            Self::Floor => workload.has_floor,
            Self::Caddy => workload.speaks == Speaks::Http && !workload.tls,
            Self::Envoy => !workload.tls,
            Self::Lameduck | Self::Haproxy | Self::Nginx => true,
        }
    }

    /// As it is called and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Lameduck => "lameduck",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        }
    }

    /// Its version, or why it can't be run here.
    pub(crate) fn version(self, lameduck: &Path) -> Result<String, String> {
        let mut command = match self {
            Self::Floor => return Ok("of this bench".to_owned()),
            Self::Lameduck => command(lameduck, &["--version"]),
            Self::Haproxy | Self::Nginx => command(self.program(), &["-v"]),
            Self::Envoy => command(self.program(), &["--version"]),
            Self::Caddy => command(self.program(), &["version"]),
        };
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{self}: {error}"))?;
        if self == Self::Nginx && !Path::new(nginx::STREAM).exists() {
            return Err(format!("nginx: no {}", nginx::STREAM));
        }
        // nginx writes its version to stderr.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let mut words = said.split(|c: char| c.is_whitespace() || c == '/');
        let version = words.find(|word| {
            let digits = word.trim_start_matches('v');
            digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.')
        });
        Ok(version.unwrap_or("unknown").to_owned())
    }

    /// The peer's program: the one that `just bench-peers` has put here, or else the system's.
    fn program(self) -> PathBuf {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/peers")
            .join(self.name());
        if ours.exists() {
            ours
        } else {
            PathBuf::from(self.name())
        }
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
