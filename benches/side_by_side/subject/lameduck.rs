//! This program, as shipped: one worker, health, metrics and all else.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Setup;
use crate::workload::Speaks;

pub(super) fn command(program: &Path, setup: &Setup<'_>) -> Command {
    let scheme = match setup.speaks {
        Speaks::Tcp => "tcp",
        Speaks::Http => "http",
    };
    let mut command = super::command(program, &["run", "--workers", "1", "--log-format", "json"]);
    command
        .args(["--listen", &format!("{scheme}://127.0.0.1:0")])
        .args(["--upstream", &setup.agent.to_string()])
        .args(["--health", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .stderr(Stdio::piped());
    command
}

/// The address of the clients' listener, if this line of lameduck's log tells it.
pub(super) fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    let own = fields.get("message")? == "listening"
        && !matches!(fields.get("listener")?.as_str()?, "health" | "admin");
    if own {
        fields.get("addr")?.as_str()?.parse().ok()
    } else {
        None
    }
}
