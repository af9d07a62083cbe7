//! nginx: one worker, no log, connections to the agent kept, bodies passed on as they come.

use std::fs;
use std::process::Command;

use super::{Relay, Setup};
use crate::Result;
use crate::workload::{Speaks, Traffic};

/// Where Debian's package puts nginx's stream module.
pub(super) const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("nginx.conf");
    fs::write(&file, configuration(setup))?;
    let mut command = super::command(Relay::Nginx.program(), &["-c"]);
    command.arg(file).arg("-p").arg(setup.dir);
    Ok(command)
}

/// A stream keeps two buffers a session for its whole life: 4 KiB are ample for small messages, and the default
/// of 16 KiB would only be held against it; for bulk, larger ones save calls.
fn configuration(setup: &Setup<'_>) -> String {
    let Setup { listen, agent, .. } = setup;
    let dir = setup.dir.display();
    let buffer = match setup.traffic {
        Traffic::Small | Traffic::Events => "4k",
        Traffic::Large => "64k",
    };
    let (ssl, certificate) = match setup.certificate {
        Some(file) => {
            let file = file.display();
            (
                " ssl",
                format!(
                    "ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.2 TLSv1.3;"
                ),
            )
        }
        None => ("", String::new()),
    };
    let server = match setup.speaks {
        Speaks::Tcp => format!(
            "stream {{
  access_log off;
  server {{
    listen {listen}{ssl} backlog=4096;
    {certificate}
    proxy_pass {agent};
    proxy_buffer_size {buffer};
    proxy_timeout 1h;
  }}
}}"
        ),
        Speaks::Http => format!(
            "http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  map $http_upgrade $connection_for_agent {{
    default upgrade;
    '' '';
  }}
  upstream agent {{
    server {agent};
    keepalive 64;
    keepalive_requests 100000000;
    keepalive_time 24h;
    keepalive_timeout 1h;
  }}
  server {{
    listen {listen}{ssl} backlog=4096;
    {certificate}
    client_body_buffer_size 128k;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_for_agent;
    proxy_request_buffering off;
    proxy_buffer_size 4k;
    proxy_buffers 8 4k;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    location / {{
      proxy_pass http://agent;
    }}
    location /events {{
      proxy_buffering off;
      proxy_pass http://agent;
    }}
  }}
}}"
        ),
    };
    format!(
        "load_module {STREAM};
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {dir}/pid;
error_log {dir}/error.log crit;
events {{
  use epoll;
  worker_connections 19500;
  multi_accept on;
}}
{server}
"
    )
}
