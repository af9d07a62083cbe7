//! This program, as shipped: health, metrics and all else.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// How it is started; its ports are the system's choice.
#[derive(Clone, Copy)]
pub(crate) struct Start<'s> {
    pub(crate) program: &'s Path,
    /// What its listener speaks: `tcp` or `http`.
    pub(crate) scheme: &'s str,
    pub(crate) agent: SocketAddr,
    pub(crate) workers: usize,
}

/// Who is let in at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Clients,
    Health,
    Admin,
}

/// The command, with its log in a pipe.
pub(crate) fn command(start: Start<'_>) -> Command {
    let mut command = Command::new(start.program);
    command
        .args(["run", "--workers", &start.workers.to_string()])
        .args(["--log-format", "json"])
        .args(["--listen", &format!("{}://127.0.0.1:0", start.scheme)])
        .args(["--upstream", &start.agent.to_string()])
        .args(["--health", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .stderr(Stdio::piped());
    command
}

/// The address that this line of its log tells, and whose it is.
pub(crate) fn listening(line: &str) -> Option<(Door, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    let door = match fields.get("message")?.as_str()? {
        "listening" => Door::Clients,
        "health listening" => Door::Health,
        "admin listening" => Door::Admin,
        _ => return None,
    };
    Some((door, fields.get("addr")?.as_str()?.parse().ok()?))
}

/// The address of the clients' listener, if this line of its log tells it.
pub(crate) fn clients_listening(line: &str) -> Option<SocketAddr> {
    match listening(line)? {
        (Door::Clients, address) => Some(address),
        _ => None,
    }
}
