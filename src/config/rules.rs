//! What must hold between the values: errors, and warnings for what is legal but dangerous.

mod late;
mod platform;

use std::net::SocketAddr;
use std::time::Duration;

use super::schema::{Raw, RawDrain, RawHttp, RawListener};
use super::section::{Found, Origin, Reader};
use super::types::{Bind, Protocol, UpstreamName};
use super::value::{nearest, show_duration};

/// No target group of an AWS balancer waits longer for its targets.
const LONGEST_DEREGISTRATION: Duration = Duration::from_secs(3600);

/// Balancers alone take some seconds to look away; less leaves nothing for the sessions.
const SHORT_WINDOW: Duration = Duration::from_secs(10);

/// The idle timeout of an ALB, unless it was changed.
const ALB_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Closings that are crowded into less of the window than this come back as a wave of arrivals.
const LEAST_SHARE_TO_CLOSE_IN: f64 = 0.2;

/// Reports everything that does not fit together. `has_file` decides where the way out is.
pub(super) fn check(raw: &Raw, reader: &Reader<'_>, has_file: bool) {
    listeners(raw, reader);
    upstreams(raw, reader, has_file);
    binds(raw, reader);
    admin(raw, reader);
    window(&raw.drain, reader);
    stretches(&raw.drain, reader);
    late::check(raw, reader);
    platform::check(raw, reader);
    idle_timeout(&raw.http, "http", reader);
    for listener in &raw.listeners.value {
        idle_timeout(&listener.http, &format!("{}.http", listener.path), reader);
        let protocol = listener.protocol.as_ref().map(|protocol| protocol.value);
        for route in &listener.routes.value {
            route.check(protocol, reader);
        }
        listener.tls.check(protocol, reader);
        listener.edge.check(&listener.path, reader);
        if listener
            .protocol
            .as_ref()
            .is_some_and(|protocol| protocol.value != Protocol::Http)
        {
            http_keys_on_tcp(listener, reader);
        }
    }
}

fn listeners(raw: &Raw, reader: &Reader<'_>) {
    if raw.listeners.is_sound() && raw.listeners.value.is_empty() {
        let help = "add [[listener]] with name, bind, protocol and upstream, or give --listen";
        let what = "there is no listener".to_owned();
        reader.error(&Origin::Default, "", what, help.to_owned());
    }
    let mut names: Vec<&Found<_>> = Vec::new();
    for listener in &raw.listeners.value {
        if let Some(name) = &listener.name {
            if names.iter().any(|other| other.value == name.value) {
                let what = format!("`{}` is the name of another listener too", name.value);
                let help = "give each listener a name of its own".to_owned();
                reader.error(&name.origin, &format!("{}.name", listener.path), what, help);
            }
            names.push(name);
        }
        let of_routes = listener.routes.value.iter();
        let wanted = of_routes.map(|route| (&route.upstream, &route.path_of_table));
        let own = (&listener.upstream, &listener.path);
        for (wanted, path) in wanted.chain([own]) {
            if let Some(wanted) = wanted {
                upstream_exists(wanted, path, raw, reader);
            }
        }
    }
}

fn upstream_exists(wanted: &Found<UpstreamName>, path: &str, raw: &Raw, reader: &Reader<'_>) {
    let all_known = raw.upstreams.is_sound()
        && !raw.upstreams.value.is_empty()
        && raw
            .upstreams
            .value
            .iter()
            .all(|upstream| upstream.name.is_some());
    if !all_known || exists(&wanted.value, raw) {
        return;
    }
    let names = raw
        .upstreams
        .value
        .iter()
        .filter_map(|upstream| upstream.name.as_ref());
    let known: Vec<_> = names.map(|name| &*name.value.0).collect();
    let help = match nearest(&wanted.value.0, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\""),
        None => format!(
            "write one of {}, or add `[upstream.{}]`",
            known
                .iter()
                .map(|name| format!("\"{name}\""))
                .collect::<Vec<_>>()
                .join(", "),
            wanted.value
        ),
    };
    let what = format!("there is no upstream `{}`", wanted.value);
    reader.error(&wanted.origin, &format!("{path}.upstream"), what, help);
}

fn upstreams(raw: &Raw, reader: &Reader<'_>, has_file: bool) {
    if raw.upstreams.is_sound() && raw.upstreams.value.is_empty() {
        let what = "it is not said where the agent listens".to_owned();
        let help = if has_file {
            "add [upstream.agent] with endpoints = [\"127.0.0.1:9000\"]"
        } else {
            "give --upstream 127.0.0.1:9000 (or LAMEDUCK_UPSTREAM), or a file with -c"
        };
        reader.error(&Origin::Default, "", what, help.to_owned());
    }
    // A listener whose upstream is not known may mean one that seems to be of no use.
    let all_resolved = raw.listeners.is_sound()
        && !raw.listeners.value.is_empty()
        && raw.listeners.value.iter().all(|listener| {
            listener
                .upstream
                .as_ref()
                .is_some_and(|wanted| exists(&wanted.value, raw))
        });
    for upstream in &raw.upstreams.value {
        let speaks_bytes = upstream
            .name
            .as_ref()
            .is_some_and(|name| is_used_by_bytes(&name.value, raw));
        upstream
            .balancing
            .check(&upstream.path, speaks_bytes, reader);
        upstream.tls.check(&upstream.endpoints, reader);
        let mut seen: Vec<&Found<_>> = Vec::new();
        for endpoint in &upstream.endpoints {
            if seen.iter().any(|other| other.value == endpoint.value) {
                let what = format!("`{}` is in the list twice", endpoint.value);
                let key = format!("{}.endpoints", upstream.path);
                reader.error(&endpoint.origin, &key, what, "leave one out".to_owned());
            }
            seen.push(endpoint);
        }
        if all_resolved
            && upstream
                .name
                .as_ref()
                .is_some_and(|name| !is_used(&name.value, raw))
        {
            let what = "no listener uses this upstream".to_owned();
            let help = "name it in a listener, or leave it out".to_owned();
            reader.warning(&upstream.origin, &upstream.path, what, help);
        }
    }
}

fn exists(name: &UpstreamName, raw: &Raw) -> bool {
    let mut names = raw
        .upstreams
        .value
        .iter()
        .filter_map(|upstream| upstream.name.as_ref());
    names.any(|other| other.value == *name)
}

/// Whether a listener without HTTP leads there.
fn is_used_by_bytes(name: &UpstreamName, raw: &Raw) -> bool {
    raw.listeners.value.iter().any(|listener| {
        let protocol = listener.protocol.as_ref();
        leads_to(listener, name) && protocol.is_some_and(|it| it.value != Protocol::Http)
    })
}

fn is_used(name: &UpstreamName, raw: &Raw) -> bool {
    let mut listeners = raw.listeners.value.iter();
    listeners.any(|listener| leads_to(listener, name))
}

/// Whether sessions of a listener go there.
fn leads_to(listener: &RawListener, name: &UpstreamName) -> bool {
    let routes = listener.routes.value.iter();
    let mut all = routes
        .map(|route| &route.upstream)
        .chain([&listener.upstream]);
    all.any(|wanted| wanted.as_ref().is_some_and(|wanted| wanted.value == *name))
}

fn binds(raw: &Raw, reader: &Reader<'_>) {
    let of_listeners = raw.listeners.value.iter().filter_map(|listener| {
        listener
            .bind
            .as_ref()
            .map(|bind| (format!("{}.bind", listener.path), bind))
    });
    let admin = match raw.admin.value {
        Bind::Tcp(value) => Some(Found {
            value,
            origin: raw.admin.origin.clone(),
        }),
        Bind::Unix(_) => None,
    };
    let others = [("health.bind".to_owned(), &raw.health)];
    let others = others
        .into_iter()
        .chain(admin.iter().map(|bind| ("admin.bind".to_owned(), bind)));
    let mut taken: Vec<(String, &Found<SocketAddr>)> = Vec::new();
    for (key, bind) in of_listeners.chain(others) {
        let key = match bind.origin {
            Origin::Flag(flag) => flag.to_owned(),
            _ => key,
        };
        if let Some((other, first)) = taken.iter().find(|(_, first)| overlap(first, bind)) {
            // Of the two, the one that somebody gave is the one to change.
            let (blamed, key, other, at) = if bind.is_given() {
                (bind, key.as_str(), other.as_str(), first.value)
            } else {
                (*first, other.as_str(), key.as_str(), bind.value)
            };
            let what = format!("`{}` is taken: {other} is `{at}`", blamed.value);
            reader.error(
                &blamed.origin,
                key,
                what,
                "bind each to a port of its own".to_owned(),
            );
        }
        taken.push((key, bind));
    }
}

/// Who reaches the control API can drain: other machines only with a token.
fn admin(raw: &Raw, reader: &Reader<'_>) {
    let bind = &raw.admin;
    let Bind::Tcp(addr) = bind.value else {
        return;
    };
    let local = addr.ip().to_canonical().is_loopback();
    let token = raw.token_file.value.is_some() || !raw.token_file.is_sound();
    if !bind.is_sound() || local || token {
        return;
    }
    let key = match bind.origin {
        Origin::Flag(flag) => flag,
        _ => "admin.bind",
    };
    let what = format!("`{addr}` can be reached from other machines, and who reaches it can drain");
    let port = addr.port();
    let help = format!("write \"127.0.0.1:{port}\", or give admin.token_file too");
    reader.error(&bind.origin, key, what, help);
}

/// Whether two addresses cannot both be bound. Port 0 is another one each time.
fn overlap(one: &Found<SocketAddr>, other: &Found<SocketAddr>) -> bool {
    let (a, b) = (one.value, other.value);
    one.is_sound()
        && other.is_sound()
        && a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn window(drain: &RawDrain, reader: &Reader<'_>) {
    let RawDrain { window, .. } = drain;
    let shown = show_duration(window.value.length);
    if window.value.length > LONGEST_DEREGISTRATION {
        let what = format!("no target group waits as long as {shown}: the platform cuts first");
        let help = "write the deregistration delay; it is at most \"3600s\"".to_owned();
        reader.warning(&window.origin, "drain.window", what, help);
    }
    if window.value.length < SHORT_WINDOW {
        let what = format!("{shown} is short: balancers take some seconds to look away");
        let help = "write at least \"10s\", and set the deregistration delay to it".to_owned();
        reader.warning(&window.origin, "drain.window", what, help);
    }
}

fn stretches(drain: &RawDrain, reader: &Reader<'_>) {
    let RawDrain {
        window,
        margin,
        lame_duck_min: min,
        lame_duck_max: max,
        finish,
        ..
    } = drain;
    if !(window.is_sound() && margin.is_sound()) {
        return;
    }
    let shown = show_duration(window.value.length);
    if margin.value >= window.value.length && !margin.is_given() {
        // The default gives way to a short window.
        return;
    }
    if margin.value >= window.value.length {
        let what = format!(
            "the margin of {} leaves nothing of the window of {shown}",
            show_duration(margin.value)
        );
        let help = "write a margin that is shorter than the window".to_owned();
        let (key, origin) = given([
            ("drain.margin", &margin.origin),
            ("drain.window", &window.origin),
        ]);
        reader.error(origin, key, what, help);
        return;
    }
    if !(min.is_sound() && max.is_sound()) {
        return;
    }
    let longest = max.value.within(window.value.length);
    if min.value > longest && !min.is_given() && !max.is_given() {
        // Likewise.
        return;
    }
    if min.value > longest {
        let what = format!(
            "lame_duck_min of {} is longer than lame_duck_max, which is {} here",
            show_duration(min.value),
            show_duration(longest)
        );
        let help = "write a shorter lame_duck_min, or a longer lame_duck_max or window".to_owned();
        let (key, origin) = if max.is_given() && !min.is_given() {
            ("drain.lame_duck_max", &max.origin)
        } else {
            given([
                ("drain.lame_duck_min", &min.origin),
                ("drain.window", &window.origin),
            ])
        };
        reader.error(origin, key, what, help);
        return;
    }
    let before = longest
        .saturating_add(margin.value)
        .saturating_add(finish.value);
    let left = window.value.length.saturating_sub(before);
    if finish.is_sound() && left < window.value.length.mul_f64(LEAST_SHARE_TO_CLOSE_IN) {
        let what = format!(
            "lame_duck_max, finish and margin leave {} of {shown} to close sessions in",
            show_duration(left)
        );
        let help = "write less for them, so that a fifth of the window is left".to_owned();
        let (key, origin) = if max.is_given() {
            ("drain.lame_duck_max", &max.origin)
        } else {
            given([
                ("drain.finish", &finish.origin),
                ("drain.window", &window.origin),
            ])
        };
        reader.warning(origin, key, what, help);
    }
}

/// The first of the values that somebody gave: the one to change.
fn given<'f>(keys: [(&'static str, &'f Origin); 2]) -> (&'static str, &'f Origin) {
    let [first, second] = keys;
    if *first.1 == Origin::Default {
        second
    } else {
        first
    }
}

fn idle_timeout(http: &RawHttp, table: &str, reader: &Reader<'_>) {
    let idle = &http.idle_timeout;
    if idle.is_given() && idle.value <= ALB_IDLE_TIMEOUT {
        let what = format!(
            "{} is not longer than an ALB keeps a connection (60s): its clients will see 502",
            show_duration(idle.value)
        );
        let help = "write more than the balancer's idle timeout, such as \"75s\"".to_owned();
        reader.warning(&idle.origin, &format!("{table}.idle_timeout"), what, help);
    }
}

fn http_keys_on_tcp(listener: &RawListener, reader: &Reader<'_>) {
    let origins = [
        (&listener.own_http, "http"),
        (
            &listener.websocket_close_code.origin,
            "websocket_close_code",
        ),
        (&listener.websocket_announce.origin, "websocket_announce"),
        (
            &listener.websocket_announce_ahead.origin,
            "websocket_announce_ahead",
        ),
    ];
    for (origin, key) in origins {
        if matches!(origin, Origin::File(_)) {
            let what = "means nothing on a tcp listener".to_owned();
            let help = "leave it out, or write protocol = \"http\"".to_owned();
            reader.warning(origin, &format!("{}.{key}", listener.path), what, help);
        }
    }
}
