//! Envoy: one worker, no log, no statistics of its own requests beyond the defaults, no limits in the way.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Relay, Setup};
use crate::Result;
use crate::workload::Speaks;

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("envoy.json");
    fs::write(&file, configuration(setup).to_string())?;
    let options = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "off",
        "-c",
    ];
    let mut command = super::command(Relay::Envoy.program(), &options);
    command
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

fn configuration(setup: &Setup<'_>) -> Value {
    let filters = "type.googleapis.com/envoy.extensions.filters";
    let filter = match setup.speaks {
        Speaks::Tcp => json!({
            "name": "tcp",
            "typed_config": {
                "@type": format!("{filters}.network.tcp_proxy.v3.TcpProxy"),
                "stat_prefix": "tcp",
                "cluster": "agent",
                "idle_timeout": "0s",
            },
        }),
        Speaks::Http => json!({
            "name": "http",
            "typed_config": {
                "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "http",
                "codec_type": "HTTP1",
                "generate_request_id": false,
                "server_header_transformation": "PASS_THROUGH",
                "stream_idle_timeout": "0s",
                "delayed_close_timeout": "0s",
                "upgrade_configs": [{ "upgrade_type": "websocket" }],
                "route_config": { "virtual_hosts": [{
                    "name": "agent",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" },
                        "route": { "cluster": "agent", "timeout": "0s" },
                    }],
                }] },
                "http_filters": [{
                    "name": "router",
                    "typed_config": {
                        "@type": format!("{filters}.http.router.v3.Router"),
                        "suppress_envoy_headers": true,
                    },
                }],
            },
        }),
    };
    let unlimited = 1_000_000;
    json!({
        "static_resources": {
            "listeners": [{
                "address": address(setup.listen),
                "tcp_backlog_size": 4096,
                // What Envoy's own advice for an edge proxy says.
                "per_connection_buffer_limit_bytes": 32768,
                "filter_chains": [{ "filters": [filter] }],
            }],
            "clusters": [{
                "name": "agent",
                "type": "STATIC",
                "connect_timeout": "5s",
                "per_connection_buffer_limit_bytes": 32768,
                "circuit_breakers": { "thresholds": [{
                    "max_connections": unlimited,
                    "max_pending_requests": unlimited,
                    "max_requests": unlimited,
                }] },
                "load_assignment": {
                    "cluster_name": "agent",
                    "endpoints": [{ "lb_endpoints": [{
                        "endpoint": { "address": address(setup.agent) },
                    }] }],
                },
            }],
        },
    })
}

fn address(of: std::net::SocketAddr) -> Value {
    json!({ "socket_address": { "address": of.ip(), "port_value": of.port() } })
}
