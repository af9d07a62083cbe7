//! This program, as shipped: health, metrics and all else.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// How it is started.
#[derive(Clone, Copy)]
pub(crate) struct Start<'s> {
    pub(crate) program: &'s Path,
    /// What its listener speaks: `tcp` or `http`.
    pub(crate) scheme: &'s str,
    pub(crate) agent: SocketAddr,
    /// None for its own choice.
    pub(crate) workers: Option<usize>,
    /// Where health answers; with port 0 the system chooses, as it does for the other two.
    pub(crate) health: SocketAddr,
}

/// A port of loopback that the system chooses.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

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
    command.args(["run", "--log-format", "json"]);
    if let Some(workers) = start.workers {
        command.args(["--workers", &workers.to_string()]);
    }
    command
        .args(["--listen", &format!("{}://127.0.0.1:0", start.scheme)])
        .args(["--upstream", &start.agent.to_string()])
        .args(["--health", &start.health.to_string()])
        .args(["--admin", "127.0.0.1:0"])
        .stderr(Stdio::piped());
    command
}

/// The same, with a listener that ends TLS with the certificate in this file.
pub(crate) fn secure_command(start: Start<'_>, certificate: &Path, dir: &Path) -> Result<Command> {
    let file = dir.join("lameduck.toml");
    let (scheme, agent, health) = (start.scheme, start.agent, start.health);
    let mut text = String::new();
    if let Some(workers) = start.workers {
        writeln!(text, "workers = {workers}")?;
    }
    writeln!(
        text,
        "[[listener]]\nname = \"clients\"\nbind = \"127.0.0.1:0\"\nprotocol = \"{scheme}\"\nupstream = \"agent\"\n\
         [listener.tls]\ncertificate_file = \"{}\"\n\
         [upstream.agent]\nendpoints = [\"{agent}\"]\n\
         [health]\nbind = \"{health}\"\n[admin]\nbind = \"127.0.0.1:0\"",
        certificate.display()
    )?;
    fs::write(&file, text)?;
    let mut command = Command::new(start.program);
    command
        .args(["run", "--log-format", "json", "--config"])
        .arg(file)
        .stderr(Stdio::piped());
    Ok(command)
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
