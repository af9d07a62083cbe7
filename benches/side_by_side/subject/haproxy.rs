//! HAProxy: one thread, no log, connections to the agent shared; splicing where bytes come in bulk.

use std::fs;
use std::process::Command;

use super::{Relay, Setup};
use crate::Result;
use crate::workload::{Speaks, Traffic};

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("haproxy.cfg");
    fs::write(&file, configuration(setup))?;
    let mut command = super::command(Relay::Haproxy.program(), &["-q", "-db", "-f"]);
    command.arg(file);
    Ok(command)
}

/// Buffers are given back when they are empty, so their size does not count for idle sessions.
fn configuration(setup: &Setup<'_>) -> String {
    let mode = match setup.speaks {
        Speaks::Tcp => "tcp",
        Speaks::Http => "http\n  http-reuse always",
    };
    let option = match setup.traffic {
        Traffic::Large => "\n  option splice-auto",
        // It would hold back an event until the next one.
        Traffic::Events if setup.speaks == Speaks::Http => "\n  option http-no-delay",
        Traffic::Small | Traffic::Events => "",
    };
    // Pipes for splicing are counted among the descriptors.
    let connections = match setup.traffic {
        Traffic::Large => 2000,
        Traffic::Small | Traffic::Events => 9500,
    };
    let Setup { listen, agent, .. } = setup;
    let tls = match setup.certificate {
        Some(file) => format!(" ssl crt {}", file.display()),
        None => String::new(),
    };
    format!(
        "global
  nbthread 1
  maxconn {connections}
defaults
  mode {mode}{option}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  timeout http-request 10s
  timeout http-keep-alive 1h
  maxconn {connections}
frontend clients
  bind {listen}{tls}
  default_backend agent
backend agent
  server agent {agent}
"
    )
}
