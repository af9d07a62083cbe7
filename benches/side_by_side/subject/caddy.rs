//! Caddy: one processor, no log, no admin endpoint, connections to the agent kept. It speaks HTTP only.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Relay, Setup};
use crate::Result;

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("caddy.json");
    fs::write(&file, configuration(setup).to_string())?;
    let mut command = super::command(Relay::Caddy.program(), &["run", "--config"]);
    command
        .arg(file)
        .env("GOMAXPROCS", "1")
        .env("XDG_DATA_HOME", setup.dir)
        .env("XDG_CONFIG_HOME", setup.dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

fn configuration(setup: &Setup<'_>) -> Value {
    json!({
        "admin": { "disabled": true, "config": { "persist": false } },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "apps": { "http": { "servers": { "clients": {
            "listen": [setup.listen],
            "automatic_https": { "disable": true },
            "protocols": ["h1"],
            "routes": [{ "handle": [{
                "handler": "reverse_proxy",
                "upstreams": [{ "dial": setup.agent }],
                "transport": {
                    "protocol": "http",
                    "compression": false,
                    "keep_alive": { "max_idle_conns_per_host": 1024, "idle_timeout": "1h" },
                },
            }] }],
        } } } },
    })
}
