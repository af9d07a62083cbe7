//! What flags and the environment say over the file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use super::edge::RawListenerEdge;
use super::platform::PlatformName;
use super::schema::{Raw, RawListener, RawUpstream};
use super::section::{Found, Origin, Reader, Section};
use super::tls::RawServerTls;
use super::types::{Bind, Endpoint, ListenerName, LogFormat, Protocol, UpstreamName, Window};
use super::value::ListenUrl;

/// Values that hold whatever the file says. `Default` overrides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces all listeners, if there is any in it.
    pub listen: Vec<ListenUrl>,
    /// Replaces the endpoints of the one upstream.
    pub upstream: Option<Endpoint>,
    /// Replaces `drain.window`.
    pub window: Option<Window>,
    /// Replaces `health.bind`.
    pub health: Option<SocketAddr>,
    /// Replaces `admin.bind`.
    pub admin: Option<Bind>,
    /// Replaces `workers`.
    pub workers: Option<NonZeroUsize>,
    /// Replaces `log.format`.
    pub log_format: Option<LogFormat>,
    /// Switched on, besides those of the file.
    pub platforms: Vec<PlatformName>,
}

impl Overrides {
    /// Puts the values over those of the file. Without a file, `--listen` has a default.
    pub(super) fn apply(
        &self,
        raw: &mut Raw,
        root: &Section<'_>,
        reader: &Reader<'_>,
        has_file: bool,
    ) {
        replace(&mut raw.drain.window, self.window, "--window");
        replace(&mut raw.health, self.health, "--health");
        replace(&mut raw.admin, self.admin.clone(), "--admin");
        replace(&mut raw.workers, self.workers, "--workers");
        replace(&mut raw.log_format, self.log_format, "--log-format");
        for name in &self.platforms {
            raw.platforms.switch_on(*name);
        }
        if let Some(endpoint) = &self.upstream {
            replace_endpoints(endpoint, raw, root, reader);
        }
        let default = [ListenUrl {
            protocol: Protocol::Http,
            bind: ([0, 0, 0, 0], 8080).into(),
        }];
        match self.listen.as_slice() {
            [] if has_file => {}
            [] => replace_listeners(&default, raw, root, reader),
            urls => replace_listeners(urls, raw, root, reader),
        }
    }
}

fn replace<T>(found: &mut Found<T>, value: Option<T>, flag: &'static str) {
    if let Some(value) = value {
        *found = Found::by_flag(value, flag);
    }
}

fn replace_endpoints(endpoint: &Endpoint, raw: &mut Raw, root: &Section<'_>, reader: &Reader<'_>) {
    const FLAG: &str = "--upstream";
    if !raw.upstreams.is_sound() {
        return;
    }
    if raw.upstreams.value.is_empty() {
        let name = Found::by_flag(UpstreamName("agent".into()), FLAG);
        let mut table = root.absent("upstream");
        raw.upstreams
            .value
            .push(RawUpstream::without_endpoints(&mut table, Some(name)));
    }
    match raw.upstreams.value.as_mut_slice() {
        [upstream] => upstream.endpoints = vec![Found::by_flag(endpoint.clone(), FLAG)],
        several => {
            let what = format!(
                "the file has {} upstreams, and the flag does not say which it is for",
                several.len()
            );
            let help = "change the endpoints in the file, or keep one upstream there".to_owned();
            reader.error(&Origin::Flag(FLAG), "", what, help);
        }
    }
}

fn replace_listeners(urls: &[ListenUrl], raw: &mut Raw, root: &Section<'_>, reader: &Reader<'_>) {
    const FLAG: &str = "--listen";
    let upstream = match raw.upstreams.value.as_slice() {
        [upstream] => upstream.name.as_ref().map(|name| name.value.clone()),
        // Reported as such, with the way out.
        [] => None,
        several => {
            let what = format!(
                "the file has {} upstreams, and the flag does not say which to use",
                several.len()
            );
            let help = "write the listeners into the file, or keep one upstream there".to_owned();
            reader.error(&Origin::Flag(FLAG), "", what, help);
            None
        }
    };
    let mut listeners: Vec<RawListener> = Vec::new();
    for url in urls {
        let name = free_name(url, &listeners);
        listeners.push(RawListener {
            path: FLAG.to_owned(),
            name: Some(Found::by_flag(name, FLAG)),
            bind: Some(Found::by_flag(url.bind, FLAG)),
            protocol: Some(Found::by_flag(url.protocol, FLAG)),
            upstream: upstream.clone().map(|name| Found::by_flag(name, FLAG)),
            routes: Found::by_flag(Vec::new(), FLAG),
            own_http: Origin::Default,
            http: raw.http.inherited(),
            tls: RawServerTls::read(&mut root.absent("tls")),
            websocket_close_code: raw.drain.websocket_close_code.inherited(),
            websocket_close_reason: raw.drain.websocket_close_reason.inherited(),
            close_order: raw.drain.close_order.inherited(),
            forward_to: raw.drain.forward_to.inherited(),
            close_patience: raw.drain.close_patience.inherited(),
            websocket_announce: raw.drain.websocket_announce.inherited(),
            websocket_announce_ahead: raw.drain.websocket_announce_ahead.inherited(),
            edge: RawListenerEdge::read(&mut root.absent(FLAG), &raw.limits),
        });
    }
    raw.listeners = Found::by_flag(listeners, FLAG);
}

/// `http-8080`, or `http-8080-2` for the second such.
fn free_name(url: &ListenUrl, listeners: &[RawListener]) -> ListenerName {
    let protocol = url.protocol.label();
    let same = |listener: &&RawListener| {
        listener
            .protocol
            .as_ref()
            .is_some_and(|protocol| protocol.value == url.protocol)
            && listener
                .bind
                .as_ref()
                .is_some_and(|bind| bind.value.port() == url.bind.port())
    };
    let port = url.bind.port();
    match listeners.iter().filter(same).count() {
        0 => ListenerName(format!("{protocol}-{port}").into()),
        before => ListenerName(format!("{protocol}-{port}-{}", before + 1).into()),
    }
}
