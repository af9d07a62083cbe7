//! The peers' configurations: one thread, no log, nothing that the workload does not need.

use std::net::SocketAddr;
use std::path::Path;

use crate::wire::Protocol;

/// Where Debian's package puts nginx's stream module.
pub(crate) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// HAProxy gives its buffers back when they are empty, so their size does not count for idle sessions.
pub(crate) fn haproxy(protocol: Protocol, listen: SocketAddr, agent: SocketAddr) -> String {
    let mode = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::WebSocket => "http",
    };
    format!(
        "global
  nbthread 1
  maxconn 9500
defaults
  mode {mode}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  timeout http-request 10s
  maxconn 9500
frontend clients
  bind {listen}
  default_backend agent
backend agent
  server agent {agent}
"
    )
}

/// nginx's stream keeps two buffers a session for its whole life: 4 KiB are ample for these messages, and the
/// default of 16 KiB would only be held against it.
pub(crate) fn nginx(
    protocol: Protocol,
    listen: SocketAddr,
    agent: SocketAddr,
    dir: &Path,
) -> String {
    let dir = dir.display();
    let server = match protocol {
        Protocol::Tcp => format!(
            "stream {{
  access_log off;
  server {{
    listen {listen} backlog=4096;
    proxy_pass {agent};
    proxy_buffer_size 4k;
    proxy_timeout 1h;
  }}
}}"
        ),
        Protocol::WebSocket => format!(
            "http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://{agent};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_buffer_size 4k;
      proxy_buffers 8 4k;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }}
  }}
}}"
        ),
    };
    format!(
        "load_module {NGINX_STREAM};
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
